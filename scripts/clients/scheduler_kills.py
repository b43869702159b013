"""The crash table of the scheduler's contract, with real processes that are killed.

Every row in order, `RINGWISE_ROUNDS` times (once where it is not given); then every crash point, where a node kills
itself. At the end of each round every job that was acknowledged has one end, made by its last attempt. Names of rows and
points behind the program are those that are asked for.

`RINGWISE_SAVE=FILE` keeps how often each held there, for the table on the client page; what was kept at the same commit
is added to, so that a long run can be made in pieces. `RINGWISE_GIT_COMMIT` says which commit the program is of, where it
is not that of the tree.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

from _balancer import until
from _scheduler import ENDS, Scheduler, address, attempt_is, kill, outcome

ROUNDS = int(os.environ.get("RINGWISE_ROUNDS", "1"))

# Where a node kills itself, and who that is.
POINTS = [
    ("before-acknowledging", "the node that was asked: proposed, not acknowledged", "the client tries again with the same key; one job"),
    ("after-acknowledging", "the node that was asked: acknowledged in the same breath", "the job is there and runs"),
    ("before-assigning", "the leader: committed, not assigned", "the next leader assigns it"),
    ("before-sending", "the leader: assigned, not sent", "the next leader sends the same attempt"),
    ("before-starting", "the worker: told to run, nothing started", "attempt + 1 elsewhere"),
    ("after-starting", "the worker: the program runs, nobody was told", "attempt + 1 elsewhere"),
    ("before-result", "the worker: the program has ended, nobody was told", "attempt + 1 elsewhere"),
    ("after-result", "the worker: the result was sent, and may not be committed", "one of both results counts"),
    ("before-client", "the leader: the result is committed, the client has none", "any node gives the result"),
]

# Prints its attempt, so that the result shows which one it is of.
PROGRAM = "import os, time; time.sleep({0}); print(os.environ['JOB_ID'], os.environ['ATTEMPT'])"


def judge(scheduler, jobs):
    """Every acknowledged job: one end, by its last attempt."""
    for job in jobs:
        found = scheduler.wait(job)
        ends = [event["what"] for event in found["history"] if event["what"] in ENDS]
        assert ends == [found["state"]], found
        if found["state"] == "finished":
            assert found["result"]["stdout"].split() == [job, str(found["attempt"])], found
    return [scheduler.job(job) for job in jobs]


def post(scheduler, program, key, at):
    """As a client does that is not answered: the same key at the next node, until one acknowledges."""
    for attempt in range(100):
        with contextlib.suppress(OSError, ValueError):
            status, answer = scheduler.json("POST", "/api/v1/jobs", {"program": program}, at=at, key=key)
            if status == 201:
                return answer["id"]
        at = scheduler.nodes[attempt % len(scheduler.nodes)]
        time.sleep(0.1)
    raise AssertionError(f"nobody acknowledged {key}")


def leader_before_acknowledging(scheduler, name):
    leader = scheduler.leader()
    # It is stopped first, so that it surely has not answered when it dies.
    kill(leader, signal.SIGSTOP)
    box = []
    asking = threading.Thread(
        target=lambda: box.append(post(scheduler, PROGRAM.format(0.1), name, address(leader["address"])))
    )
    asking.start()
    time.sleep(0.2)
    kill(leader)
    asking.join()
    return box


def leader_after_acknowledging(scheduler, name):
    leader = scheduler.leader()
    job = post(scheduler, PROGRAM.format(0.2), name, address(leader["address"]))
    kill(leader)
    return [job]


def worker_with_a_job(scheduler, name):
    job = post(scheduler, PROGRAM.format(3), name, scheduler.nodes[0])
    worker = scheduler.wait(job, "running")["worker"]
    began = kill(scheduler.node(worker))
    elsewhere = {}

    def runs_elsewhere():
        elsewhere.update(scheduler.job(job))
        return elsewhere["state"] == "running" and elsewhere["attempt"] >= 2

    until(runs_elsewhere, "elsewhere")
    print(f"  worker killed, running elsewhere after {time.monotonic() - began:.2f} s")
    found = scheduler.wait(job)
    assert elsewhere["worker"] != worker, elsewhere
    attempt_is(found, 2)
    return [job]


def worker_that_was_slow(scheduler, name):
    job = post(scheduler, PROGRAM.format(1.5), name, scheduler.nodes[0])
    worker = scheduler.wait(job, "running")["worker"]
    node = scheduler.node(worker)
    kill(node, signal.SIGSTOP)
    found = scheduler.wait(job)
    attempt_is(found, 2)
    assert found["worker"] != worker, found
    # Meanwhile the first program ended too, unseen; now its worker wakes and tells.
    kill(node, signal.SIGCONT)
    until(lambda: scheduler.job(job)["late"], "the late result")
    late = scheduler.job(job)["late"]
    assert late[0]["attempt"] == 1 and late[0]["result"]["stdout"].split() == [job, "1"], late
    assert "late" in [event["what"] for event in scheduler.job(job)["history"]]
    return [job]


def leader_after_the_result(scheduler, name):
    job = post(scheduler, PROGRAM.format(0.1), name, scheduler.nodes[0])
    scheduler.wait(job)
    leader = scheduler.leader()
    kill(leader)
    for at in [node for node in scheduler.nodes if node != address(leader["address"])]:
        assert outcome(scheduler.wait(job, at=at))[0] == "finished"
    return [job]


def leader_and_worker_at_once(scheduler, name):
    job = post(scheduler, PROGRAM.format(2), name, scheduler.nodes[0])
    worker = scheduler.wait(job, "running")["worker"]
    leader = scheduler.leader()
    nodes = {node["id"]: node for node in (leader, scheduler.node(worker))}
    for node in nodes.values():
        kill(node)
    return [job]


def minority(scheduler, name):
    """Three of five do not answer: the others refuse, with a reason, and go on when the majority is back."""
    nodes = [node for node in scheduler.all_nodes() if node["role"] != "log"]
    stopped = nodes[:3]
    left = address(nodes[3]["address"])
    for node in stopped:
        kill(node, signal.SIGSTOP)
    try:

        def refuses():
            status, answer = scheduler.json("POST", "/api/v1/jobs", {"program": "x"}, at=left)
            return status == 503 and "majority" in answer["error"]

        until(refuses, "the minority refuses")
        status, text = scheduler.ask("GET", "/healthz", at=left)
        assert status == 503, text
    finally:
        for node in stopped:
            kill(node, signal.SIGCONT)
    scheduler.settled()
    return [post(scheduler, PROGRAM.format(0.1), name, left)]


def power(scheduler, name):
    jobs = [post(scheduler, PROGRAM.format(1), f"{name}-{number}", scheduler.nodes[0]) for number in range(5)]
    scheduler.power_cut()
    scheduler.start()
    return jobs


def job_that_kills_its_worker(scheduler, name):
    # Its parent is the worker's keeper, the keeper's the worker.
    program = (
        "import os, signal, time\n"
        "parent = open(f'/proc/{os.getppid()}/stat').read().rsplit(')', 1)[1].split()[1]\n"
        "time.sleep(0.3)\n"
        "os.kill(int(parent), signal.SIGKILL)\n"
        "time.sleep(60)\n"
    )
    job = post(scheduler, program, name, scheduler.nodes[0])
    found = scheduler.wait(job)
    assert found["state"] == "dead" and found["attempt"] == 5, found
    reasons = [event for event in found["history"] if event["what"] == "expired"]
    assert len(reasons) == 5 and all(event["why"] for event in reasons), found
    assert "lost their worker" in found["history"][-1]["why"], found
    status, dead = scheduler.json("GET", "/api/v1/jobs?state=dead")
    assert status == 200 and job in [each["id"] for each in dead["jobs"]], dead
    scheduler.settled()
    status, answer = scheduler.json("POST", f"/api/v1/jobs/{job}/retry")
    assert status == 200, answer
    scheduler.wait(job, "running")
    scheduler.json("POST", f"/api/v1/jobs/{job}/cancel")
    scheduler.settled()
    return []


def job_that_kills_its_keeper(scheduler, name):
    """Who keeps the programs of a worker is a part of it: without it the worker ends, and is another when it is back."""
    program = (
        "import os, signal, time\n"
        "if os.environ['ATTEMPT'] == '1':\n"
        "    os.kill(os.getppid(), signal.SIGKILL)\n"
        "    time.sleep(60)\n"
        "print(os.environ['JOB_ID'], os.environ['ATTEMPT'])\n"
    )
    job = post(scheduler, program, name, scheduler.nodes[0])
    found = scheduler.wait(job)
    assert found["state"] == "finished" and found["attempt"] >= 2, found
    scheduler.settled()
    return [job, *[post(scheduler, PROGRAM.format(0.1), f"{name}-{after}", scheduler.nodes[0]) for after in range(6)]]


# The rows of the contract: who dies, when; and what happens.
ROWS = [
    (leader_before_acknowledging, "leader, before it has acknowledged", "the client tries again with the same key at any node; one job"),
    (leader_after_acknowledging, "leader, after acknowledging, before assigning", "the next leader assigns it"),
    (worker_with_a_job, "worker, holding a job", "its lease ends within 2 s, attempt + 1 elsewhere"),
    (worker_that_was_slow, "worker that was only slow", "its late result is refused by attempt number and kept as late"),
    (leader_after_the_result, "leader, after the result, before the client has it", "the result is asked for at any node"),
    (leader_and_worker_at_once, "a leader and a worker at once", "the majority goes on"),
    (minority, "three of five do not answer", "the minority refuses with a reason"),
    (power, "every node at once (power)", "on restart everything acknowledged is there"),
    (job_that_kills_its_worker, "a job that kills its worker each time", "attempt cap, back-off, dead-letter list with reasons, retry"),
    (job_that_kills_its_keeper, "the keeper of a worker's programs", "the worker with it; attempt + 1 elsewhere"),
]


def said(*words):
    done = subprocess.run(words, capture_output=True, text=True, cwd=pathlib.Path(__file__).parent)
    return done.stdout.strip()


class Record:
    """How often each row held, in a file."""

    def __init__(self):
        self.path, self.rows = os.environ.get("RINGWISE_SAVE"), {}
        self.commit = os.environ.get("RINGWISE_GIT_COMMIT") or said("git", "rev-parse", "--short=12", "HEAD")
        self.date = said("date", "-u", "+%Y-%m-%d")

    @contextlib.contextmanager
    def round(self, name, who, what):
        """One more round, held if it ends well."""
        try:
            yield
        except BaseException:
            self.add(name, who, what, 0)
            raise
        self.add(name, who, what, 1)

    def add(self, name, who, what, held):
        if not self.path:
            return
        with contextlib.suppress(FileNotFoundError):
            self.rows = {row["name"]: row for row in json.loads(pathlib.Path(self.path).read_text())}
        before = self.rows.get(name, {})
        rounds, well = (before["rounds"], before["held"]) if before.get("commit") == self.commit else (0, 0)
        kept = {"rounds": rounds + 1, "held": well + held, "date": self.date, "commit": self.commit}
        self.rows[name] = {"name": name, "who": who, "what": what, **kept}
        order = [row.__name__ for row, *_ in ROWS] + [point for point, *_ in POINTS]
        found = [self.rows[each] for each in order if each in self.rows]
        pathlib.Path(self.path).write_text(json.dumps(found, indent=1) + "\n")


def is_wanted(name):
    return not sys.argv[2:] or name in sys.argv[2:]


def rows(record):
    wanted = [row for row in ROWS if is_wanted(row[0].__name__)]
    if not wanted:
        return
    with Scheduler("--restart-after", "1s") as scheduler:
        for row, who, what in wanted:
            for number in range(ROUNDS):
                scheduler.settled()
                began = time.monotonic()
                with record.round(row.__name__, who, what):
                    jobs = row(scheduler, f"{row.__name__}-{number}")
                    scheduler.settled()
                    judge(scheduler, jobs)
                print(f"{row.__name__} {number}: held, {time.monotonic() - began:.1f} s", flush=True)


def points(record):
    for point, who, what in POINTS:
        for number in range(ROUNDS if is_wanted(point) else 0):
            with record.round(point, who, what), Scheduler("--crash", point, "--restart-after", "1s") as scheduler:
                scheduler.settled()
                leader = address(scheduler.leader()["address"])
                job = post(scheduler, PROGRAM.format(0.3), f"{point}-{number}", leader)
                until(lambda: any(point in line and "kills itself" in line for line in scheduler.lines), f"a death at {point}")
                scheduler.settled()
                [found] = judge(scheduler, [job])
                assert found["state"] == "finished", found
                print(f"{point} {number}: held, attempt {found['attempt']}", flush=True)


record = Record()
rows(record)
points(record)
print("scheduler_kills: all held")
