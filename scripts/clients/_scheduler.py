"""A whole cluster of one's own on free ports, and small ways of asking it.

A script says `with Scheduler() as scheduler:` and talks to `scheduler.client`, `scheduler.log` and `scheduler.nodes`. At
the end SIGTERM must end it with status 0, and none of the processes that it started may be left.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from _balancer import alive, descendants, until
from _server import address, ready, stop

PATIENCE_SECONDS = 60
ENDS = ("finished", "failed", "dead", "cancelled", "lost")


# A program that sleeps wakes within milliseconds of its time; the lease of a worker bears ten times that.
GAP_SECONDS = 0.3


class Gaps:
    """How long the machine did not run who was ready to run: a lease ends of that as it does of a crash."""

    def __init__(self):
        self.longest = 0
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        before = time.monotonic()
        while True:
            time.sleep(0.02)
            now = time.monotonic()
            self.longest = max(self.longest, now - before - 0.02)
            before = now


GAPS = Gaps()


def attempt_is(job, number):
    """Its last attempt is that one; a later one only where the machine stood still in this script's time."""
    later = job["attempt"] > number and GAPS.longest > GAP_SECONDS
    assert job["attempt"] == number or later, (GAPS.longest, job)
    if later:
        print(f"  attempt {job['attempt']} in place of {number}: the machine stood still for {GAPS.longest:.2f} s")
    expired = [event for event in job["history"] if event["what"] == "expired"]
    assert all(event["why"] for event in expired), job


class Scheduler:
    """One running `scheduler up`, given more options if need be."""

    def __init__(self, *options, workers=3, data=None):
        self.options = options
        self.workers = workers
        self.data = data
        self.own = None

    def __enter__(self):
        if self.data is None:
            self.own = self.data = tempfile.mkdtemp(prefix="scheduler-test-")
        self.start()
        return self

    def start(self):
        command = [sys.argv[1], "up", "--workers", str(self.workers), "--port", "0", "--data", self.data, *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.reader = threading.Thread(target=self.read_lines, args=(self.process.stderr,), daemon=True)
        self.reader.start()
        try:
            keys = ready(self.process, "scheduler")
        except AssertionError as unready:
            raise AssertionError(f"{unready}; {self.lines}") from None
        self.client = address(keys["client"])
        self.log = address(keys["log"])
        host, ports = keys["nodes"].rsplit(":", 1)
        self.nodes = [(host, int(port)) for port in expanded(ports)]
        assert len(self.nodes) == self.workers + 1, keys

    def read_lines(self, stream):
        for line in stream:
            self.lines.append(line.rstrip("\n"))

    def power_cut(self):
        """Every process at once, by SIGKILL."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def __exit__(self, kind, value, trace):
        children = descendants(self.process.pid)
        try:
            if self.process.poll() is None:
                for pid in children:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGCONT)
                stop(self.process)
            until(lambda: not alive(children), f"processes are left: {alive(children)}")
        finally:
            if kind is not None:
                print("\n".join(self.lines[-80:]), file=sys.stderr)
            if self.own:
                shutil.rmtree(self.own, ignore_errors=True)

    def ask(self, method, path, body=None, headers=None, at=None, timeout=PATIENCE_SECONDS):
        """One request on a connection of its own: status, body."""
        connection = http.client.HTTPConnection(*(at or self.client), timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def json(self, method, path, value=None, at=None, key=None):
        """The same with JSON both ways."""
        headers = {"Content-Type": "application/json"} if value is not None else {}
        if key:
            headers["Idempotency-Key"] = key
        body = None if value is None else json.dumps(value)
        status, text = self.ask(method, path, body, headers, at)
        return status, json.loads(text)

    def send(self, program, at=None, key=None, **more):
        """A job that is acknowledged; its id."""
        status, answer = self.json("POST", "/api/v1/jobs", {"program": program, **more}, at=at, key=key)
        assert status == 201, (status, answer)
        assert answer["id"], answer
        return answer["id"]

    def job(self, job, at=None):
        status, answer = self.json("GET", f"/api/v1/jobs/{job}", at=at)
        assert status == 200, (status, answer)
        return answer

    def wait(self, job, *states, at=None):
        """The job once it is in one of those states, or has ended."""
        found = {}

        def holds():
            found.update(self.job(job, at))
            return found["state"] in (states or ENDS)

        until(holds, f"job {job} to be {states or ENDS}, not {found.get('state')}")
        return found

    def all_nodes(self, at=None):
        status, answer = self.json("GET", "/api/v1/nodes", at=at)
        assert status == 200, (status, answer)
        return answer["nodes"]

    def node(self, name):
        """That node, once its process is known: who was just started may not have been heard by the others yet."""
        found = []

        def holds():
            found[:] = [node for node in self.all_nodes() if node["id"] == name and alive([node["pid"]])]
            return found

        until(holds, f"the process of {name}")
        return found[0]

    def leader(self):
        """The leader that all agree on who answer."""
        found = []

        def holds():
            leaders = [node for node in self.all_nodes() if node["role"] == "leader" and node["state"] == "alive"]
            found[:] = [node for node in leaders if alive([node["pid"]])]
            return len(found) == 1

        until(holds, "a leader")
        return found[0]

    def settled(self):
        """Waits until all nodes live and one of them leads. Who was just killed may still be believed alive by the
        others, so the process that each is said to be must be there."""

        def holds():
            nodes = self.all_nodes()
            are_alive = all(node["state"] == "alive" and alive([node["pid"]]) for node in nodes)
            return are_alive and any(node["role"] == "leader" for node in nodes)

        until(holds, "all nodes alive")


def expanded(ports):
    """`3002,3004-3006` as numbers."""
    for part in ports.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def kill(node, what=signal.SIGKILL):
    os.kill(node["pid"], what)
    return time.monotonic()


def outcome(job):
    return job["state"], job["result"] and job["result"]["stdout"]
