"""Nodes of a scheduler in network namespaces of their own, joined by a bridge, so that each can be cut off.

Needs root and `ip` (iproute2). A script says `unshared()` first, which runs it again in a network namespace of its own, so
that nothing of it is seen outside, and then `with Spaces() as spaces:`.
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
import time

from _scheduler import ENDS, PATIENCE_SECONDS

NODES = 5
ALL = range(1, NODES + 1)
PORT = 3002


def run(*words):
    subprocess.run(words, check=True)


def host(node):
    return f"10.77.0.{node}"


def name(node):
    return f"sched-{os.getpid()}-{node}"


class Spaces:
    """Five nodes, the last of which is the event log."""

    def __enter__(self):
        self.data = tempfile.mkdtemp(prefix="scheduler-namespaces-")
        with open(f"{self.data}/key", "w") as file:
            file.write(os.urandom(32).hex())
        self.processes = {}
        try:
            build()
            for node in ALL:
                self.start(node)
            until(lambda: leader(ALL) is not None, "a leader")
        except BaseException:
            self.__exit__()
            raise
        return self

    def start(self, node):
        cluster = ",".join(f"{each}={host(each)}:{PORT}" + ("/log" if each == NODES else "") for each in ALL)
        word = "log" if node == NODES else "node"
        command = ["ip", "netns", "exec", name(node), sys.argv[1], word, "--id", str(node), "--cluster", cluster]
        command += ["--data", f"{self.data}/{node}", "--listen", host(node), "--insecure-open", "--key-file", f"{self.data}/key"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.processes[node] = process
        assert process.stdout.readline().startswith("READY scheduler "), "expected READY"

    def kill(self, node):
        self.processes[node].kill()
        self.processes[node].wait()

    def pause(self, node):
        self.processes[node].send_signal(signal.SIGSTOP)

    def resume(self, node):
        self.processes[node].send_signal(signal.SIGCONT)

    def cut(self, node):
        run("ip", "link", "set", f"out{node}", "down")

    def join(self, node):
        run("ip", "link", "set", f"out{node}", "up")

    def __exit__(self, *failure):
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            process.wait(timeout=20)
        for node in ALL:
            subprocess.run(["ip", "netns", "del", name(node)], check=False)
        shutil.rmtree(self.data, ignore_errors=True)


def build():
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "bridge", "type", "bridge")
    run("ip", "addr", "add", "10.77.0.254/24", "dev", "bridge")
    run("ip", "link", "set", "bridge", "up")
    for node in ALL:
        run("ip", "netns", "add", name(node))
        run("ip", "link", "add", f"out{node}", "type", "veth", "peer", "name", "eth0", "netns", name(node))
        run("ip", "link", "set", f"out{node}", "master", "bridge", "up")
        inside = ["ip", "-n", name(node)]
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "addr", "add", f"{host(node)}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")


def ask(node, method, path, value=None, key=None, timeout=10):
    connection = http.client.HTTPConnection(host(node), PORT, timeout=timeout)
    try:
        headers = {"Idempotency-Key": key} if key else {}
        connection.request(method, path, body=None if value is None else json.dumps(value), headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def until(holds, what):
    late = time.monotonic() + PATIENCE_SECONDS
    while True:
        with contextlib.suppress(OSError, ValueError):
            if holds():
                return
        assert time.monotonic() < late, what() if callable(what) else what
        time.sleep(0.1)


def leader(among):
    for node in among:
        with contextlib.suppress(OSError, ValueError):
            status, answer = ask(node, "GET", "/api/v1/nodes", timeout=2)
            found = [each for each in answer["nodes"] if each["role"] == "leader" and each["state"] == "alive"]
            if status == 200 and found:
                return int(found[0]["id"].split("-")[1])
    return None


def judge(acknowledged):
    """Each has one end, made by its last attempt, and every node says so."""
    for job in acknowledged:
        until(lambda: ask(3, "GET", f"/api/v1/jobs/{job}")[1]["state"] in ENDS, f"the end of {job}")
        seen = [ask(node, "GET", f"/api/v1/jobs/{job}")[1] for node in ALL]
        assert all(each == seen[0] for each in seen), seen
        ends = [event["what"] for event in seen[0]["history"] if event["what"] in ENDS]
        assert ends == ["finished"], seen[0]
        assert seen[0]["result"]["stdout"].split() == [job, str(seen[0]["attempt"])], seen[0]


def unshared():
    """Runs this script again in a network namespace of its own."""
    if os.environ.get("RINGWISE_UNSHARED") != "1":
        assert os.geteuid() == 0 and shutil.which("ip"), "needs root and ip: apt-get install iproute2"
        os.environ["RINGWISE_UNSHARED"] = "1"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
