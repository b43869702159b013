"""A balancer of one's own on free ports, and small ways of asking it.

A script says `with Balancer("--replicas", "2") as balancer:` and talks to `balancer.http` and `balancer.admin`. At the
end SIGTERM must end it with status 0, and none of the processes that it started may be left.
"""

import http.client
import json
import os
import socket
import subprocess
import sys
import time

from _server import address, ready, stop

PATIENCE_SECONDS = 30


class Balancer:
    """One running `balancer serve`, given more options if need be."""

    def __init__(self, *options):
        self.options = options

    def __enter__(self):
        command = [sys.argv[1], "serve", "--port", "0", "--admin-port", "0", "--log-level", "error", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        keys = ready(self.process, "balancer")
        self.http = address(keys["http"])
        self.admin = address(keys["admin"])
        return self

    def __exit__(self, kind, value, trace):
        children = descendants(self.process.pid)
        if self.process.poll() is None:
            stop(self.process)
        until(lambda: not alive(children), f"processes are left: {alive(children)}")

    def ask(self, method, path, body=None, headers=None, port=None):
        """One request on a connection of its own: status, body."""
        connection = http.client.HTTPConnection(*(port or self.http), timeout=PATIENCE_SECONDS)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def json(self, method, path, value=None, port=None):
        """The same with JSON both ways."""
        body = None if value is None else json.dumps(value)
        headers = {} if value is None else {"Content-Type": "application/json"}
        status, text = self.ask(method, path, body, headers, port)
        return status, json.loads(text)

    def names(self):
        status, answer = self.json("GET", "/rep")
        assert status == 200, answer
        assert answer["message"]["N"] == len(answer["message"]["replicas"])
        return answer["message"]["replicas"]

    def replicas(self):
        """What the page shows of each replica, by name."""
        _, answer = self.json("GET", "/replicas", port=self.admin)
        return {each["hostname"]: each for each in answer["replicas"]}

    def settled(self, count):
        """Waits until so many replicas are healthy."""
        healthy = lambda: [each for each in self.replicas().values() if each["state"] == "healthy"]
        until(lambda: len(healthy()) == count, lambda: f"{count} healthy replicas, not {self.replicas()}")

    def child_pids(self):
        """Process ids of the replicas, by the port that each was given."""
        found = {}
        for pid in descendants(self.process.pid):
            words = command_of(pid)
            if "--port" in words and "replica" in words:
                found[int(words[words.index("--port") + 1])] = pid
        return found

    def metric(self, name):
        """A counter or level, summed over cores."""
        _, text = self.ask("GET", "/metrics", port=self.admin)
        values = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(name + "{")]
        assert values, f"no {name} in the metrics"
        return sum(float(value) for _, value in values)


def until(holds, what):
    """Waits for something that must come to hold."""
    late = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < late, f"waited {PATIENCE_SECONDS} s: {what() if callable(what) else what}"
        time.sleep(0.02)


def command_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().decode().split("\0")
    except OSError:
        return []


def descendants(pid):
    """All processes below `pid`, also those that are started by its keeper."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry))
    found, left = [], [pid]
    while left:
        below = children.get(left.pop(), [])
        found += below
        left += below
    return found


def alive(pids):
    """Those that run; one that has ended and waits to be reaped by somebody else does not."""
    running = []
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] != "Z":
                    running.append(pid)
        except OSError:
            continue
    return running


def say(where, data, wait=3.0):
    """Sends bytes and reads until the other side ends, or says nothing for a while."""
    with socket.create_connection(where, timeout=wait) as conn:
        conn.sendall(data)
        heard = b""
        try:
            while part := conn.recv(65536):
                heard += part
        except (TimeoutError, ConnectionResetError):
            return heard, False
        return heard, True
