"""Five nodes in five network namespaces, killed, stopped by SIGSTOP and cut off at random under load for
`RINGWISE_CHAOS_SECONDS` (20 where it is not given); then all is made whole, and every job that was acknowledged is looked
for: exactly one end, made by its last attempt, the same at every node; no attempt started twice, and none of those that
may be started once.

`RINGWISE_SEED=n` draws the same faults again; when they meet what, the machine decides. Needs root and `ip` (iproute2).
"""

import collections
import os
import pathlib
import random
import threading
import time

from _scheduler_spaces import ALL, NODES, Spaces, ask, unshared, until

SECONDS = float(os.environ.get("RINGWISE_CHAOS_SECONDS", "20"))
SENDERS = 4

# As many may be broken at once and the rest still is a majority; now and then it is none.
BROKEN_MAX = 2
WORSE_PERCENT = 10

ENDS = ("finished", "failed", "dead", "cancelled", "lost")


class Job:
    """What somebody wants, and what may come of it."""

    def __init__(self, number, folder, draw):
        self.key = f"chaos-{number}"
        self.status = draw.choice([0, 0, 0, 0, 3])
        self.at_most_once = draw.random() < 0.2
        self.starts = pathlib.Path(folder, self.key)
        self.program = (
            f"echo $ATTEMPT >>{self.starts}; sleep {draw.uniform(0, 1.5):.2f}; echo $JOB_ID $ATTEMPT; exit {self.status}"
        )

    def spec(self):
        return {"program": self.program, "interpreter": "sh", "cpu": 0.2, "memory_mb": 64, "at_most_once": self.at_most_once}


class Load:
    """Senders, who try again with the same key at another node until somebody acknowledges."""

    def __init__(self, seed, folder):
        self.seed, self.folder, self.over = seed, folder, threading.Event()
        self.acknowledged, self.answers = {}, collections.Counter()
        self.threads = [threading.Thread(target=self.send, args=(number,), daemon=True) for number in range(SENDERS)]
        for thread in self.threads:
            thread.start()

    def send(self, number):
        draw, count = random.Random(f"{self.seed} {number}"), 0
        while not self.over.is_set():
            count += 1
            job = Job(f"{number}-{count}", self.folder, draw)
            while not self.over.is_set() and not self.is_taken(job, draw.choice(ALL)):
                time.sleep(0.05)
            time.sleep(draw.uniform(0, 0.2))

    def is_taken(self, job, node):
        try:
            status, answer = ask(node, "POST", "/api/v1/jobs", job.spec(), job.key, timeout=3)
        except (OSError, ValueError):
            status, answer = "no answer", None
        self.answers[status] += 1
        if status == 201:
            self.acknowledged[answer["id"]] = job
        return status == 201

    def stop(self):
        self.over.set()
        for thread in self.threads:
            thread.join()


class Chaos:
    """Breaks nodes and mends them."""

    def __init__(self, seed, spaces):
        self.draw, self.spaces = random.Random(seed), spaces
        self.broken, self.counts = {}, collections.Counter()

    def live(self, seconds):
        began = time.monotonic()
        while (now := time.monotonic()) < began + seconds:
            for node in [node for node, (at, _) in self.broken.items() if at <= now]:
                self.mend(node)
            worse = self.draw.randrange(100) < WORSE_PERCENT
            if len(self.broken) < BROKEN_MAX + worse:
                self.breaks(self.draw.choice([node for node in ALL if node not in self.broken]))
            time.sleep(self.draw.uniform(0.1, 0.8))
        for node in list(self.broken):
            self.mend(node)

    def breaks(self, node):
        kind = self.draw.choice(["kill", "pause", "cut"])
        getattr(self.spaces, kind)(node)
        self.counts[kind] += 1
        self.broken[node] = (time.monotonic() + self.draw.uniform(0.2, 3), kind)

    def mend(self, node):
        _, kind = self.broken.pop(node)
        {"kill": self.spaces.start, "pause": self.spaces.resume, "cut": self.spaces.join}[kind](node)


def judge(acknowledged):
    states = collections.Counter()
    for job, wish in acknowledged.items():
        until(lambda: ask(1, "GET", f"/api/v1/jobs/{job}")[1]["state"] in ENDS, f"the end of {job}")
        # A late result may still come, and reaches each node in its own time.
        seen = []

        def is_agreed():
            seen[:] = [ask(node, "GET", f"/api/v1/jobs/{job}")[1] for node in ALL]
            return all(each == seen[0] for each in seen)

        until(is_agreed, lambda: f"all nodes say the same: {seen}")
        found = seen[0]
        ends = [event["what"] for event in found["history"] if event["what"] in ENDS]
        assert ends == [found["state"]], found
        started = wish.starts.read_text().split() if wish.starts.exists() else []
        assert len(set(started)) == len(started), (found, started)
        assert not wish.at_most_once or len(started) <= 1, (found, started)
        states[found["state"]] += 1
        if found["state"] in ("lost", "dead"):
            assert found["result"] is None and (wish.at_most_once or found["attempt"] == 5), found
            continue
        result = found["result"]
        assert found["state"] == ("failed" if wish.status else "finished"), found
        assert (result["exit"], result["stdout"].split()) == (wish.status, [job, str(found["attempt"])]), found
        assert str(found["attempt"]) in started, (found, started)
    return states


def main():
    seed = int(os.environ.get("RINGWISE_SEED") or random.randrange(1 << 32))
    print(f"scheduler_chaos: RINGWISE_SEED={seed}", flush=True)
    with Spaces() as spaces:
        folder = pathlib.Path(spaces.data, "starts")
        folder.mkdir()
        load, chaos = Load(seed, folder), Chaos(seed, spaces)
        try:
            chaos.live(SECONDS)
            until(lambda: all(ask(node, "GET", "/api/v1/nodes")[0] == 200 for node in ALL), "all nodes answer")
            until(lambda: ask(1, "POST", "/api/v1/jobs", {"program": "x"}, "healed")[0] == 201, "a majority again")
        finally:
            load.stop()
        assert set(load.answers) <= {201, 429, 503, "no answer"}, load.answers
        states = judge(load.acknowledged)
        nodes = ask(1, "GET", "/api/v1/nodes")[1]["nodes"]
        assert len(nodes) == NODES and all(node["state"] == "alive" for node in nodes), nodes
    print(f"  faults: {dict(chaos.counts)}; answers: {dict(load.answers)}")
    print(f"scheduler_chaos: {len(load.acknowledged)} acknowledged jobs, each with one end: {dict(states)}")


unshared()
main()
