"""A worker for faas in another hand: it speaks the frames as they are written down, and misbehaves when it is told to.

It runs what it is given in its own process, one after the other. A test makes it silent, late or forgetful by setting
its fields between frames.
"""

import os
import pickle
import socket
import struct
import threading
import time
import uuid

OPENING = b"RWFW" + struct.pack("<HH", 1, 0)
REGISTRATION, REQUEST_TASK, NEW_TASK, NO_TASK, RESULT_READY, ACK, HEARTBEAT, CANCEL = range(1, 9)


def frame(kind, body=b""):
    return struct.pack("<IBxxx", len(body), kind) + body


def text(words):
    words = words.encode()
    return struct.pack("<H", len(words)) + words


def counted(data):
    return struct.pack("<I", len(data)) + data


class Worker:
    """One worker on a thread of its own, until `stop`."""

    def __init__(self, address, mode="push", slots=1, window=0, run=None, beats=True):
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.connect(address)
        self.mode, self.slots, self.window, self.beats = mode, slots, window, beats
        self.run = run or self.call
        self.code, self.acks, self.cancelled, self.ran = {}, [], [], []
        self.lock = threading.Lock()
        self.send(OPENING)
        body = uuid.uuid4().bytes + struct.pack("<BHHI", 1 if mode == "pull" else 2, slots, window, os.getpid())
        body += text("3.11.0") + text("0.3.8") + text("") + struct.pack("<H", 0) + text("a worker of the tests")
        self.send(frame(REGISTRATION, body))
        self.registered = threading.Event()
        if mode == "pull":
            self.ask(slots + window)
        self.thread = threading.Thread(target=self.listen, daemon=True)
        self.thread.start()
        assert self.registered.wait(10), "the registration is not acknowledged"

    def send(self, data):
        with self.lock:
            self.socket.sendall(data)

    def ask(self, more):
        self.send(frame(REQUEST_TASK, struct.pack("<I", more)))

    def exactly(self, count):
        data = bytearray()
        while len(data) < count:
            more = self.socket.recv(min(count - len(data), 1 << 20))
            if not more:
                raise EOFError
            data += more
        return bytes(data)

    def listen(self):
        try:
            assert self.exactly(8) == OPENING
            while True:
                length, kind = struct.unpack("<IBxxx", self.exactly(8))
                self.heard(kind, self.exactly(length))
        except (EOFError, OSError):
            self.socket.close()

    def heard(self, kind, body):
        if kind == ACK and body[0] == 0:
            self.session = body[5:13]
            self.registered.set()
            if self.beats:
                threading.Thread(target=self.beat, args=(struct.unpack_from("<I", body, 1)[0] / 1000,), daemon=True).start()
        elif kind == ACK:
            self.acks.append(body)
        elif kind == CANCEL:
            self.cancelled.append((body[:16], struct.unpack_from("<I", body, 16)[0]))
        elif kind == NEW_TASK:
            for task in self.tasks(body):
                self.run(self, *task)

    def beat(self, seconds):
        try:
            while True:
                time.sleep(seconds)
                if self.beats:
                    self.send(frame(HEARTBEAT, struct.pack("<IIB", 0, 0, 0)))
        except OSError:
            pass

    def tasks(self, body):
        at = 0
        while at < len(body):
            task, (attempt,) = body[at : at + 16], struct.unpack_from("<I", body, at + 16)
            function, (timeout_ms, has_code) = body[at + 20 : at + 36], struct.unpack_from("<IB", body, at + 36)
            at += 41
            if has_code:
                (length,) = struct.unpack_from("<I", body, at)
                self.code[function] = body[at + 4 : at + 4 + length]
                at += 4 + length
            (length,) = struct.unpack_from("<I", body, at)
            payload = body[at + 4 : at + 4 + length]
            at += 4 + length
            yield task, attempt, self.code[function], payload, timeout_ms

    def report(self, task, attempt, result=None, raised=None, returned=None, started_us=0, ran_us=1):
        body = self.session + task + struct.pack("<IQQ", attempt, started_us, ran_us)
        if returned is not None:
            body += struct.pack("<BB", 2, returned) + text("returned by a test")
        elif raised is not None:
            words = f"{type(raised).__name__}: {raised}"
            body += struct.pack("<BB", 1, 1) + text(words) + counted(pickle.dumps(raised))
        else:
            body += b"\0" + counted(result)
        self.send(frame(RESULT_READY, body + counted(b"")))
        if self.mode == "pull":
            self.ask(1)

    def call(self, _, task, attempt, code, payload, timeout_ms):
        import dill

        self.ran.append((task, attempt))
        began = time.monotonic_ns()
        try:
            arguments, named = dill.loads(payload)
            result = dill.dumps(dill.loads(code)(*arguments, **named))
        except Exception as error:  # what a function raises is its result
            return self.report(task, attempt, raised=error, ran_us=(time.monotonic_ns() - began) // 1000)
        self.report(task, attempt, result=result, ran_us=(time.monotonic_ns() - began) // 1000)

    def stop(self):
        try:
            self.socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.socket.close()
