"""kill -9 of everything that faas is made of, under load: every task that was accepted ends exactly once.

How often each is killed stands in RINGWISE_KILLS; a few times where nobody says.
"""

import os
import random
import signal
import sys
import threading
import time

import requests

from _faas import WAIT_SECONDS_MAX, Faas, eventually, pickled, scratch, unpickled
from _faas_processes import children
from _server import run

KILLS = int(os.environ.get("RINGWISE_KILLS", "3"))


def double(x):
    import time

    time.sleep(0.002)
    return 2 * x


class Load:
    """Submits on threads of its own until it is told to stop, whatever happens to the service meanwhile."""

    def __init__(self, faas, function, threads=4):
        self.faas, self.function = faas, function
        self.accepted, self.lock, self.stopped = {}, threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.submit, args=(n,), daemon=True) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    def submit(self, number):
        http, count = requests.Session(), 0
        while not self.stopped.is_set():
            count += 1
            argument = number * 1_000_000 + count
            body = {"function_id": self.function, "payload": pickled(((argument,), {}))}
            try:
                answer = http.post(self.faas.base + "/execute_function", json=body, timeout=WAIT_SECONDS_MAX)
            except requests.RequestException:
                time.sleep(0.05)
                continue
            assert answer.status_code == 201, (answer.status_code, answer.text)
            with self.lock:
                self.accepted[answer.json()["task_id"]] = argument
            time.sleep(0.005)

    def stop(self):
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def judge(self):
        """Every task has its one result, now and when it is asked again."""
        first = {}
        for task, argument in self.accepted.items():
            answer = self.faas.get(f"/result/{task}?wait={WAIT_SECONDS_MAX}")
            assert answer.status_code == 200, (task, answer.status_code, answer.text)
            body = answer.json()
            assert body["status"] == "COMPLETED" and unpickled(body["result"]) == 2 * argument, (task, body, argument)
            first[task] = body["result"]
        for task, result in first.items():
            assert self.faas.get(f"/result/{task}").json()["result"] == result
        return len(first)


def ended(faas):
    return faas.get("/").json()["tasks"]["completed"]


def began_again(faas, killed_at):
    """Seconds from a kill to some tasks that end after it."""
    before = ended(faas)
    eventually(lambda: ended(faas) > before + 5)
    return time.monotonic() - killed_at


def test_the_service_is_killed():
    with scratch() as folder:
        # Each start has another port; who submits asks where the service is each time.
        faas = Faas("--workers", "2", mode="local", store=f"log:{folder}").start()
        load = Load(faas, faas.register(double))
        slowest = 0.0
        for _ in range(KILLS):
            before = len(load.accepted)
            eventually(lambda: len(load.accepted) > before + 50)
            time.sleep(random.random() * 0.1)
            faas.kill()
            began = time.monotonic()
            faas.start()
            slowest = max(slowest, began_again(faas, began))
        load.stop()
        print(f"  {load.judge()} tasks over {KILLS} kills of the service; work went on within {slowest:.2f} s")
        faas.stop()


def test_a_worker_is_killed():
    with scratch() as folder, Faas("--workers", "2", "--max-attempts", "1000", mode="local", store=f"log:{folder}") as faas:
        load = Load(faas, faas.register(double))
        slowest = 0.0
        for _ in range(KILLS):
            before = ended(faas)
            eventually(lambda: ended(faas) > before + 20)
            workers = [each["pid"] for each in faas.get("/workers").json()["workers"]]
            os.kill(random.choice(workers), signal.SIGKILL)
            slowest = max(slowest, began_again(faas, time.monotonic()))
        load.stop()
        print(f"  {load.judge()} tasks over {KILLS} kills of a worker; work went on within {slowest:.2f} s")


def test_a_slot_is_killed():
    with scratch() as folder, Faas("--workers", "2", "--max-attempts", "1000", mode="local", store=f"log:{folder}") as faas:
        load = Load(faas, faas.register(double))
        killed, slowest = 0, 0.0
        for _ in range(KILLS):
            before = ended(faas)
            eventually(lambda: ended(faas) > before + 20)
            slots = [pid for pid, name in children(faas.process.pid) if "python" in name]
            slots = [pid for pid in slots if not children(pid)] or slots
            if slots:
                os.kill(random.choice(slots), signal.SIGKILL)
                slowest = max(slowest, began_again(faas, time.monotonic()))
                killed += 1
        load.stop()
        print(f"  {load.judge()} tasks over {killed} kills of a slot; work went on within {slowest:.2f} s")
        assert killed, "there are slots to be killed"


if __name__ == "__main__":
    run(sys.modules[__name__])
