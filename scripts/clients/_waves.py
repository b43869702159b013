"""A running `waves up` of one's own, asked by what only the contract knows: HTTP and WebSocket with JSON.

`with Waves() as net:` starts one on free ports. It is stopped by SIGTERM at the end, and must then exit with status 0
and leave no process behind.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

from websockets.sync.client import connect

from _server import addresses, ready, stop

WAIT_SECONDS_MAX = 30


class Waves:
    def __init__(self, *options):
        self.options = options

    def __enter__(self):
        command = [sys.argv[1], "up", "--port", "0", "--log-level", "error", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        keys = ready(self.process, "waves")
        self.at = keys["http"]
        self.ports = [port for _, port in addresses(keys["units"])]
        # Its keeper and its units, if it has any.
        self.owned = [pid for pid in everybody() if self.process.pid in ancestors(pid)]
        return self

    def __exit__(self, kind, value, trace):
        if self.process.poll() is None:
            stop(self.process)
        within(lambda: not any(map(is_alive, self.owned)), "no process is left behind")

    def get(self, path, port=None):
        return self.ask("GET", path, port)

    def ask(self, method, path, port=None):
        at = self.at if port is None else f"127.0.0.1:{port}"
        request = urllib.request.Request(f"http://{at}{path}", method=method)
        with urllib.request.urlopen(request, timeout=WAIT_SECONDS_MAX) as answer:
            return json.loads(answer.read())

    def socket(self, port=None):
        at = self.at if port is None else f"127.0.0.1:{port}"
        return connect(f"ws://{at}/ws", open_timeout=WAIT_SECONDS_MAX, max_size=None)

    def loads(self):
        return [self.get("/specs", port)["load"] for port in self.ports]


def ancestors(pid):
    """The parents of a process, up to the first."""
    found, at = [], int(pid)
    while at > 1:
        try:
            at = int(open(f"/proc/{at}/stat").read().rsplit(")", 1)[1].split()[1])
        except OSError:
            break
        found.append(at)
    return found


def units_of(pid):
    """The processes of units below this one."""
    return [child for child in everybody() if pid in ancestors(child) and is_unit(child)]


def everybody():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def is_unit(pid):
    try:
        return open(f"/proc/{pid}/cmdline").read().split("\0")[1:2] == ["unit"]
    except OSError:
        return False


def is_alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def within(holds, what):
    """Waits until it holds."""
    end = time.monotonic() + WAIT_SECONDS_MAX
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def names(tree):
    """All names of a tree, by which everybody is once in it or is not."""
    return sorted([tree["name"]] + [name for child in tree["children"] for name in names(child)])


def message(socket):
    return json.loads(socket.recv(timeout=WAIT_SECONDS_MAX))


def kill(pid):
    os.kill(pid, signal.SIGKILL)
