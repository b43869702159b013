"""A dispatcher of one's own, for one worker: it speaks the frames of systems/faas/src/dispatch.rs and keeps no queue."""

import os
import pickle
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import uuid

# Workers run the first python3 of PATH: let it be this one, which has dill.
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")

WAIT_SECONDS_MAX = 30
OPENING = b"RWFW" + struct.pack("<HH", 1, 0)
REGISTRATION, REQUEST_TASK, NEW_TASK, NO_TASK, RESULT_READY, ACK, HEARTBEAT, CANCEL = range(1, 9)
COMPLETED, FAILED, RETURNED = 0, 1, 2
RAISED, FUNCTION, ARGUMENTS, RESULT, TIMED_OUT, DIED, CANCELLED, OUTPUT = range(1, 9)
NO_ROOM, LEAVING, NEEDS_FUNCTION, SLOT_LOST = range(1, 5)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values[0] if len(values) == 1 else values

    def run(self, length):
        self.at += length
        return self.data[self.at - length : self.at]

    def text(self):
        return self.run(self.take("H")).decode()

    def bytes(self):
        return self.run(self.take("I"))


class Report:
    def __init__(self, reader):
        self.task, self.attempt, self.started_us, self.ran_us, self.outcome = reader.take("16sIQQB")
        self.kind, self.words, self.result = 0, "", b""
        if self.outcome == COMPLETED:
            self.result = reader.bytes()
        elif self.outcome == FAILED:
            self.kind, self.words, self.result = reader.take("B"), reader.text(), reader.bytes()
        else:
            self.kind, self.words = reader.take("B"), reader.text()
        self.printed = reader.bytes()

    def value(self):
        assert self.outcome == COMPLETED, (self.outcome, self.kind, self.words)
        return pickle.loads(self.result)

    def failed(self, kind, *words):
        assert (self.outcome, self.kind) == (FAILED, kind), (self.outcome, self.kind, self.words)
        for each in words:
            assert each in self.words, (each, self.words)
        error = pickle.loads(self.result)
        assert isinstance(error, BaseException)
        return error


class Dispatcher:
    """Listens; `worker()` waits until one has registered."""

    def __init__(self, port=0):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", port))
        self.listener.listen(16)
        self.listener.settimeout(WAIT_SECONDS_MAX)
        self.address = "tcp://127.0.0.1:%d" % self.listener.getsockname()[1]

    def worker(self, heartbeat_ms=500):
        conn, _ = self.listener.accept()
        return Connection(conn, heartbeat_ms)


class Connection:
    """A worker that has registered."""

    def __init__(self, conn, heartbeat_ms):
        self.conn, self.held = conn, b""
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.asked, self.beats, self.acks = 0, [], True
        self.reports = []
        self.known = {}
        conn.settimeout(WAIT_SECONDS_MAX)
        while len(self.held) < len(OPENING):
            self.held += self.receive()
        assert self.held.startswith(OPENING), self.held
        self.held = self.held[len(OPENING) :]
        kind, body = self.frame()
        assert kind == REGISTRATION
        reader = Reader(body)
        self.id, self.mode, self.slots, self.window, self.pid = reader.take("16sBHHI")
        self.python, self.dill, self.token = reader.text(), reader.text(), reader.text()
        self.jails, self.remarks = reader.take("H"), reader.text()
        conn.sendall(OPENING)
        self.session = os.urandom(8)
        self.say(ACK, struct.pack("<BI", 0, heartbeat_ms) + self.session)

    def receive(self):
        more = self.conn.recv(1 << 20)
        if not more:
            raise EOFError("the worker hung up")
        return more

    def say(self, kind, body=b""):
        self.conn.sendall(struct.pack("<IBxxx", len(body), kind) + body)

    def frame(self):
        """The next frame, of whatever kind."""
        parts = [self.held]
        have = len(self.held)
        while have < 8 or have < 8 + struct.unpack_from("<I", parts[0])[0]:
            more = self.receive()
            have += len(more)
            parts = [parts[0] + more] if len(parts[0]) < 8 else [*parts, more]
        self.held = b"".join(parts)
        length, kind = struct.unpack_from("<IB", self.held)
        body, self.held = self.held[8 : 8 + length], self.held[8 + length :]
        return kind, body

    def hear(self):
        """Takes one frame in; reports are acknowledged at once, unless `acks` is off."""
        kind, body = self.frame()
        reader = Reader(body)
        if kind == REQUEST_TASK:
            self.asked += reader.take("I")
        elif kind == HEARTBEAT:
            self.beats.append(reader.take("IIB"))
            self.say(HEARTBEAT, body)
        elif kind == RESULT_READY:
            taken, session = b"", reader.run(8)
            assert session == self.session, "reports of another session"
            while reader.at < len(body):
                report = Report(reader)
                self.reports.append(report)
                taken += struct.pack("<16sI", report.task, report.attempt)
            if self.acks:
                self.say(ACK, b"\x02" + taken)
        else:
            raise AssertionError(f"a worker does not say {kind}")

    def give(self, *tasks, code=None, timeout_s=60, attempt=1):
        """Sends tasks: (function's bytes, arguments...) each, in one frame. Returns their ids."""
        body, ids = b"", []
        for function, *args in tasks:
            is_new = function not in self.known
            name = self.known.setdefault(function, uuid.uuid4().bytes)
            task = uuid.uuid4().bytes
            ids.append(task)
            payload = args[0] if len(args) == 1 and isinstance(args[0], Raw) else pickle.dumps((tuple(args), {}))
            body += struct.pack("<16sI16sIB", task, attempt, name, int(timeout_s * 1000), is_new)
            body += struct.pack("<I", len(function)) + function if is_new else b""
            body += struct.pack("<I", len(payload)) + payload
        self.asked -= len(ids)
        self.say(NEW_TASK, body)
        return ids

    def report(self, task):
        """What became of it; waits for that."""
        until = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            for at, report in enumerate(self.reports):
                if report.task == task:
                    return self.reports.pop(at)
            assert time.monotonic() < until, "no report"
            self.hear()

    def run(self, function, *args, **how):
        return self.report(self.give((function, *args), **how)[0])

    def values(self, function, arguments):
        """What it returns for each argument; what comes back because there is no room is given again."""
        values, left = {}, list(arguments)
        while left:
            tasks = self.give(*[(function, each) for each in left])
            reports = [self.report(task) for task in tasks]
            done = [(each, report) for each, report in zip(left, reports) if report.outcome != RETURNED]
            assert all(r.kind == NO_ROOM for r in reports if r.outcome == RETURNED)
            values.update((each, report.value()) for each, report in done)
            left = [each for each in left if each not in values]
        return [values[each] for each in arguments]

    def cancel(self, task, attempt=1):
        self.say(CANCEL, struct.pack("<16sI", task, attempt))

    def wait_for(self, holds):
        until = time.monotonic() + WAIT_SECONDS_MAX
        while not holds():
            assert time.monotonic() < until
            self.hear()

    def close(self):
        self.conn.close()


class Raw(bytes):
    """An argument that is the payload itself."""


class Worker:
    """A real `faas worker`, started as its operator would; `words` are the ones behind `worker`."""

    def __init__(self, address, *words, program=None, slots=2, mode="--pull"):
        command = [program or sys.argv[1], "worker", mode, str(slots), address, *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.said = []
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()

    def listen(self):
        for line in self.process.stderr:
            self.said.append(line.rstrip())

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(WAIT_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("SIGTERM did not end it") from None
        if kind is not None:
            print("    the worker said:", *self.said[-12:], sep="\n      ")
        assert kind is not None or status in (0, -signal.SIGKILL), (status, self.said[-5:])
