"""A faas process of one's own, and what a client of it needs: twenty lines with dill and requests."""

import base64
import codecs
import os
import subprocess
import sys
import tempfile
import time

import dill
import requests

from _faas_worker import Worker
from _server import address, ready, stop

# Workers run the first python3 of PATH: let it be this one, which has dill.
os.environ["PATH"] = os.path.dirname(sys.executable) + os.pathsep + os.environ.get("PATH", "")

WAIT_SECONDS_MAX = 60


def pickled(value, lines=False):
    """A value as clients send it: base64 of a dill pickle, in one line or in lines of 76 columns."""
    data = dill.dumps(value)
    return codecs.encode(data, "base64").decode() if lines else base64.b64encode(data).decode()


def unpickled(text):
    return dill.loads(base64.b64decode(text))


class Faas:
    """One running `faas serve`. Workers of the tests join with `worker()`."""

    def __init__(self, *options, mode="push", store="memory", program=None):
        self.command = [program or sys.argv[1], "serve", "--port", "0", "--mode", mode, "--store", store, *options]
        self.mode, self.process, self.workers = mode, None, []
        self.http = requests.Session()

    def __enter__(self):
        return self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        keys = ready(self.process, "faas")
        self.base = f"http://{keys['http']}"
        at = keys["dispatch"]
        self.dispatch = at.removeprefix("unix:") if at.startswith("unix:") else address(at)
        return self

    def worker(self, **how):
        self.workers.append(Worker(self.dispatch, mode=self.mode, **how))
        return self.workers[-1]

    def stop(self):
        for worker in self.workers:
            worker.stop()
        self.workers = []
        stop(self.process)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def __exit__(self, kind, value, trace):
        self.stop()

    def get(self, path, **more):
        return self.http.get(self.base + path, timeout=WAIT_SECONDS_MAX, **more)

    def post(self, path, **more):
        return self.http.post(self.base + path, timeout=WAIT_SECONDS_MAX, **more)

    def delete(self, path, **more):
        return self.http.delete(self.base + path, timeout=WAIT_SECONDS_MAX, **more)

    def register(self, function, name="f", lines=False):
        answer = self.post("/register_function", json={"name": name, "payload": pickled(function, lines)})
        assert answer.status_code in (200, 201), (answer.status_code, answer.text)
        return answer.json()["function_id"]

    def execute(self, function, *arguments, timeout_s=None, headers=None, **named):
        body = {"function_id": function, "payload": pickled((arguments, named))}
        if timeout_s is not None:
            body["timeout_s"] = timeout_s
        answer = self.post("/execute_function", json=body, headers=headers)
        assert answer.status_code in (200, 201), (answer.status_code, answer.text)
        return answer.json()["task_id"]

    def result(self, task, seconds=WAIT_SECONDS_MAX):
        """Waits for a task's end: its state, and what it returned or raised."""
        answer = self.get(f"/result/{task}?wait={seconds}")
        assert answer.status_code == 200, (answer.status_code, answer.text)
        body = answer.json()
        assert body["task_id"] == task
        assert body["status"] in ("COMPLETED", "FAILED"), body
        return body["status"], unpickled(body["result"])

    def call(self, function, *arguments, **named):
        return self.result(self.execute(function, *arguments, **named))


def eventually(holds, seconds=WAIT_SECONDS_MAX):
    """Waits until something holds; gives it."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = holds()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it never came to be")


def sum_of(faas, name):
    """A gauge, over all cores."""
    lines = faas.get("/metrics").text.splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(name + "{") or line.startswith(name + " "))


def scratch():
    """A directory that is gone at the end of the program."""
    return tempfile.TemporaryDirectory(prefix="ringwise-faas-")
