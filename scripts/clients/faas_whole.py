"""A real service with real workers and real slots, in each of the three modes: what a user meets."""

import base64
import concurrent.futures
import importlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import dill
import requests

from _dispatcher import Worker
from _faas import Faas, eventually, pickled, scratch, sum_of, unpickled
from _nasty import close, eat, endless, fork, leave, speak
from _server import run

MODES = ("local", "pull", "push")
WAIT_SECONDS = 60


class Whole:
    """A service and its workers; a client of it."""

    def __init__(self, mode, slots=2, words=(), options=()):
        self.mode, self.slots, self.words, self.worker = mode, slots, words, None
        local = ["--workers", str(slots), *words] if mode == "local" else []
        self.faas = Faas(*local, *options, mode=mode)

    def __enter__(self):
        self.faas.start()
        if self.mode != "local":
            self.join()
        return self

    def join(self):
        host, port = self.faas.dispatch
        self.worker = Worker(f"tcp://{host}:{port}", *self.words, slots=self.slots, mode=f"--{self.mode}")

    def __exit__(self, kind, *rest):
        if self.worker:
            self.worker.__exit__(kind, *rest)
        self.faas.stop()

    def post(self, path, body):
        answer = self.faas.http.post(self.faas.base + path, json=body, timeout=WAIT_SECONDS)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def register(self, function):
        payload = pickled_by_value(function)
        return self.post("/register_function", {"name": "f", "payload": payload})["function_id"]

    def execute(self, function, *args, **more):
        body = {"function_id": function, "payload": pickled((args, {})), **more}
        return self.post("/execute_function", body)["task_id"]

    def result(self, task):
        until = time.monotonic() + WAIT_SECONDS
        while True:
            answer = self.faas.http.get(f"{self.faas.base}/result/{task}?wait=10", timeout=WAIT_SECONDS).json()
            if answer["status"] in ("COMPLETED", "FAILED"):
                return answer["status"], unpickled(answer["result"])
            assert time.monotonic() < until, answer

    def call(self, function, *args, **more):
        return self.result(self.execute(function, *args, **more))


def pickled_by_value(function):
    return base64.b64encode(dill.dumps(function, recurse=True)).decode()


def in_each_mode(test):
    def tests():
        for mode in MODES:
            try:
                test(mode)
            except BaseException:
                print(f"    in mode {mode}:")
                raise

    tests.__name__ = test.__name__
    tests.__code__ = tests.__code__.replace(co_firstlineno=test.__code__.co_firstlineno)
    return tests


@in_each_mode
def test_a_user_gets_values_and_exceptions(mode):
    def fail(what):
        raise ValueError(what)

    with Whole(mode) as whole:
        add = whole.register(lambda a, b: a + b)
        assert whole.call(add, 1, 2) == ("COMPLETED", 3)
        state, error = whole.call(whole.register(fail), "no such colour")
        assert state == "FAILED" and isinstance(error, ValueError)
        try:
            raise error
        except ValueError as raised:
            assert raised.args == ("no such colour",)
        scale = 3
        assert whole.call(whole.register(lambda n: n * scale), 14) == ("COMPLETED", 42)
        big = os.urandom(20 * 1024 * 1024)
        length = whole.register(lambda data: (len(data), data[:10]))
        assert whole.call(length, big) == ("COMPLETED", (len(big), big[:10]))
        tasks = [whole.execute(add, n, 1) for n in range(200)]
        assert [whole.result(task) for task in tasks] == [("COMPLETED", n + 1) for n in range(200)]
        me = whole.register(lambda: (__import__("os").environ["FAAS_TASK_ID"], __import__("os").environ["FAAS_ATTEMPT"]))
        task = whole.execute(me)
        assert whole.result(task) == ("COMPLETED", (task, "1"))


def test_who_waits_for_what_runs_is_told_when_the_service_ends():
    with Whole("local", slots=1, options=("--drain-timeout", "50s")) as whole:
        sleeps = whole.register(lambda seconds: __import__("time").sleep(seconds) or "slept")
        assert whole.call(sleeps, 0) == ("COMPLETED", "slept")
        tasks = [whole.execute(sleeps, 3) for _ in range(8)]
        with concurrent.futures.ThreadPoolExecutor(len(tasks)) as pool:
            asked = [pool.submit(requests.get, f"{whole.faas.base}/result/{task}?wait=30") for task in tasks]
            eventually(lambda: sum_of(whole.faas, "faas_waiting") == len(tasks))
            eventually(lambda: "RUNNING" in [state(whole.faas, task) for task in tasks])
            began = time.monotonic()
            whole.faas.process.send_signal(signal.SIGTERM)
            states = [answer.result(timeout=WAIT_SECONDS).json()["status"] for answer in asked]
            took = time.monotonic() - began
        # What a worker had taken and not begun goes back, and nobody waits for it until the drain is over.
        assert set(states) == {"COMPLETED", "QUEUED"} and took < 40, (states, took)
        assert whole.faas.process.wait(timeout=WAIT_SECONDS) == 0


def state(faas, task):
    return faas.get(f"/status/{task}").json()["status"]


@in_each_mode
def test_functions_of_a_module_come_by_reference(mode):
    with scratch() as place:
        pathlib.Path(place, "of_this_test.py").write_text("def triple(n):\n    return 3 * n\n")
        sys.path.insert(0, place)
        payload = pickled(importlib.import_module("of_this_test").triple)
        sys.path.remove(place)
        assert len(base64.b64decode(payload)) < 100, "a name, not code"
        for words, state, said in (("--pythonpath", place), "COMPLETED", "42"), ((), "FAILED", "--pythonpath"):
            with Whole(mode, words=words) as whole:
                function = whole.post("/register_function", {"name": "triple", "payload": payload})["function_id"]
                found, value = whole.call(function, 14)
                assert found == state and said in str(value), (found, value)


def test_only_who_shows_a_token_is_served():
    with scratch() as folder:
        tokens, wrong = pathlib.Path(folder, "tokens"), pathlib.Path(folder, "wrong")
        tokens.write_text("first\n\n  second  \n")
        wrong.write_text("secon\n")
        for mode in MODES:
            words = () if mode == "local" else ("--auth-file", str(tokens))
            with Whole(mode, words=words, options=("--auth-file", str(tokens))) as whole:
                http, base = whole.faas.http, whole.faas.base
                for shown in (None, "", "Bearer", "Bearer secon", "Basic second"):
                    http.headers["Authorization"] = shown
                    for path in ("/", "/workers", "/tasks", "/result/00000000-0000-4000-8000-000000000000"):
                        answer = http.get(base + path)
                        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer"), (shown, path)
                    assert http.post(base + "/register_function", json={"name": "f", "payload": ""}).status_code == 401
                    assert http.get(base + "/healthz").status_code == 200
                http.headers["Authorization"] = "Bearer second"
                if mode != "local":
                    host, port = whole.faas.dispatch
                    for other in (("--auth-file", str(wrong)), ()):
                        with Worker(f"tcp://{host}:{port}", *other, mode=f"--{mode}") as stranger:
                            eventually(lambda: any("refuses this worker" in line for line in stranger.said))
                            assert "--auth-file" in " ".join(stranger.said) and "second" not in " ".join(stranger.said)
                    assert len(http.get(base + "/workers").json()["workers"]) == 1
                assert whole.call(whole.register(lambda n: n + 1), 1) == ("COMPLETED", 2)
        none = subprocess.run(
            [sys.argv[1], "serve", "--port", "0", "--store", "memory", "--auth-file", os.devnull], capture_output=True, text=True
        )
        assert none.returncode == 2 and "there is no token in it" in none.stderr, none


@in_each_mode
def test_nasty_functions_fail_with_a_reason_and_others_are_unharmed(mode):
    def generator():
        return (n for n in range(3))

    def interrupt():
        raise KeyboardInterrupt

    def recurse():
        def deeper():
            return deeper()

        return deeper()

    with Whole(mode) as whole:
        add = whole.register(lambda a, b: a + b)
        for function, kind, words in (
            (leave, RuntimeError, "exit status 7"),
            (endless, TimeoutError, "longer than its limit"),
            (eat, MemoryError, ""),
            (fork, BlockingIOError, "temporarily unavailable"),
            (speak, RuntimeError, "printed more than"),
            (close, RuntimeError, "closed the descriptors"),
            (generator, RuntimeError, "cannot be pickled"),
            (interrupt, KeyboardInterrupt, ""),
            (recurse, RecursionError, "recursion"),
        ):
            nasty = whole.execute(whole.register(function), **({"timeout_s": 1} if function is endless else {}))
            others = [whole.execute(add, n, 1) for n in range(5)]
            assert [whole.result(task) for task in others] == [("COMPLETED", n + 1) for n in range(5)]
            state, error = whole.result(nasty)
            assert state == "FAILED" and isinstance(error, kind) and words in str(error), (function, error)
        foreign = pathlib.Path(__file__).parents[2] / "systems/faas/corpus/pickled/dill-3.13.pickle"
        payload = base64.b64encode(foreign.read_bytes()).decode()
        function = whole.post("/register_function", {"name": "f", "payload": payload})["function_id"]
        state, error = whole.call(function, 3)
        if sys.version_info[:2] != (3, 13):
            assert state == "FAILED" and "another Python" in str(error), error


if __name__ == "__main__":
    run(sys.modules[__name__])
