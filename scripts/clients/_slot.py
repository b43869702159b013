"""A zygote of slots of one's own, spoken to as the worker speaks to it: systems/faas/src/python/slot.py says how."""

import json
import os
import pathlib
import pickle
import select
import socket
import struct
import subprocess
import sys
import tempfile
import uuid

SOURCE = pathlib.Path(__file__).parents[2] / "systems/faas/src/python/slot.py"
WAIT_SECONDS_MAX = 30
MIB = 1024 * 1024

CONFIG = {
    "pythonpath": [],
    "preload": [],
    "memory": 1024 * MIB,
    "file_size": 64 * MIB,
    "cpu": 20,
    "processes": 32,
    "network": False,
    "user_base": 0,
    "output": 1 * MIB,
    "result": 30 * MIB,
}


class Died(Exception):
    """The slot's connection ended."""


class Report:
    """What became of a task."""

    def __init__(self, record):
        fields = struct.unpack_from("<16sIBBBQHI", record)
        self.task, self.attempt, self.outcome, self.kind, self.retires, self.ran_us, words, printed = fields
        at = struct.calcsize("<16sIBBBQHI")
        self.words = record[at : at + words].decode()
        self.printed = record[at + words : at + words + printed].decode(errors="replace")
        self.result = record[at + words + printed :]

    def value(self):
        assert self.outcome == 0, self.words
        return pickle.loads(self.result)


class Zygote:
    """A zygote under `python`, with slots that are asked for one by one."""

    def __init__(self, python=sys.executable, **config):
        self.directory = tempfile.mkdtemp(prefix="faas-slot-")
        os.chmod(self.directory, 0o711)
        self.listener = socket.socket(socket.AF_UNIX)
        path = os.path.join(self.directory, "socket")
        self.listener.bind(path)
        self.listener.listen(64)
        self.listener.settimeout(WAIT_SECONDS_MAX)
        config = {**CONFIG, "socket": path, "directory": self.directory, **config}
        command = [python, "-c", SOURCE.read_text()]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        self.held, self.launches = b"", 0
        self.tell(json.dumps(config))
        said = self.line()
        assert said.startswith("ready "), said
        self.facts = json.loads(said[6:])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(WAIT_SECONDS_MAX) == 0
        self.listener.close()
        subprocess.run(["rm", "-rf", self.directory], check=True)

    def tell(self, line):
        self.process.stdin.write(line.encode() + b"\n")

    def line(self):
        while b"\n" not in self.held:
            ready, _, _ = select.select([self.process.stdout], [], [], WAIT_SECONDS_MAX)
            assert ready, "the zygote said nothing"
            more = self.process.stdout.read(65536)
            assert more, "the zygote ended"
            self.held += more
        line, self.held = self.held.split(b"\n", 1)
        return line.decode()

    def slot(self):
        self.launches += 1
        secret = os.urandom(16)
        self.tell(f"start {self.launches} {secret.hex()}")
        conn, _ = self.listener.accept()
        conn.settimeout(WAIT_SECONDS_MAX)
        slot = Slot(self, self.launches, conn)
        assert slot.record() == struct.pack("<Q", self.launches) + secret
        return slot


class Slot:
    """One slot."""

    def __init__(self, zygote, launch, conn):
        self.zygote, self.launch, self.conn = zygote, launch, conn
        self.known = {}

    def exactly(self, count):
        parts = bytearray()
        while len(parts) < count:
            more = self.conn.recv(min(count - len(parts), 1 << 20))
            if not more:
                raise Died()
            parts += more
        return bytes(parts)

    def record(self):
        return self.exactly(struct.unpack("<I", self.exactly(4))[0])

    def send(self, code, payload, attempt=1):
        """Sends a task; a function's bytes travel once. Returns the task's id."""
        is_new = code not in self.known
        function = self.known.setdefault(code, uuid.uuid4().bytes)
        task = uuid.uuid4().bytes
        sent = code if is_new else b""
        head = struct.pack("<16sI16sBI", task, attempt, function, int(is_new), len(sent))
        self.conn.sendall(struct.pack("<I", len(head) + len(sent) + len(payload)) + head + sent + payload)
        return task

    def report(self):
        return Report(self.record())

    def run(self, code, *args, **kwargs):
        task = self.send(code, pickle.dumps((args, kwargs)))
        report = self.report()
        assert (report.task, report.attempt) == (task, 1)
        return report

    def end(self):
        """What the zygote says of its end: how it ended, if it did so by itself."""
        how, line = None, ""
        while line != f"gone {self.launch}":
            line = self.zygote.line()
            if line.startswith(f"ended {self.launch} "):
                how = line.split(" ", 2)[2]
        self.conn.close()
        return how

    def kill(self):
        self.zygote.tell(f"kill {self.launch}")
        return self.end()

    def is_well(self, code):
        """Whether it goes on as if nothing had been."""
        return self.run(code, 20, 1).value() == 21
