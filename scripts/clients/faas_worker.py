"""A real `faas worker` with real Python slots, against a dispatcher that is spoken by hand."""

import os
import pathlib
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import time

import dill

from _dispatcher import (
    CANCELLED, DIED, FUNCTION, NEEDS_FUNCTION, OUTPUT, RAISED, RETURNED, SLOT_LOST, TIMED_OUT,
    Dispatcher, Raw, Worker,
)
from _nasty import close, eat, endless, fork, leave, speak
from _server import run

MIB = 1024 * 1024
KILLS = int(os.environ.get("RINGWISE_KILLS", "5"))


def code(function):
    return dill.dumps(function, recurse=True)


ADD = code(lambda a, b: a + b)
SLEEP = code(lambda seconds: __import__("time").sleep(seconds))
PID = code(lambda: __import__("os").getpid())


def descendants(pid):
    found = []
    try:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    except FileNotFoundError:
        pass
    return found


def command(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return ""


def pythons(worker):
    return [pid for pid in descendants(worker.process.pid) if "-c\0" in command(pid)]


def is_running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(holds, what):
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.01)


def both(test):
    """A test for a worker that asks and for one that is sent."""

    def tests():
        for mode in ("--pull", "--push"):
            test(mode)

    tests.__name__ = test.__name__
    tests.__code__ = tests.__code__.replace(co_firstlineno=test.__code__.co_firstlineno)
    return tests


@both
def test_tasks_are_run_and_reported(mode):
    dispatcher = Dispatcher()
    with Worker(dispatcher.address, mode=mode) as worker:
        conn = dispatcher.worker()
        assert (conn.slots, conn.pid, conn.mode) == (2, worker.process.pid, 1 if mode == "--pull" else 2)
        assert conn.python == "%d.%d.%d" % sys.version_info[:3], "the python3 of PATH"
        assert conn.run(ADD, 1, 2).value() == 3
        assert conn.values(code(lambda n: n + 1), range(300)) == [n + 1 for n in range(300)]
        big = os.urandom(20 * MIB)
        report = conn.run(code(lambda data: data[::-1]), big)
        assert report.value() == big[::-1]
        report = conn.run(SLEEP, 0.2)
        assert 200_000 <= report.ran_us < 2_000_000 and report.started_us < 2_000_000
        assert isinstance(conn.run(code(lambda: 1 / 0)).failed(RAISED, "division"), ZeroDivisionError)


def test_a_worker_that_asks_is_never_asked_for_more_than_it_has_room_for():
    dispatcher = Dispatcher()
    with Worker(dispatcher.address):
        conn = dispatcher.worker()
        conn.wait_for(lambda: conn.asked == 2)
        tasks = conn.give((SLEEP, 0.3), (SLEEP, 0.3))
        for task in tasks:
            conn.report(task).value()
        conn.wait_for(lambda: conn.asked == 2)
        for _ in range(60):
            conn.run(ADD, 1, 2)
        conn.wait_for(lambda: conn.asked > 2)


def test_what_waits_behind_long_tasks_goes_back():
    dispatcher = Dispatcher()
    with Worker(dispatcher.address):
        conn = dispatcher.worker()
        tasks = conn.give((SLEEP, 1), (SLEEP, 1), (ADD, 1, 2), (ADD, 3, 4))
        reports = [conn.report(task) for task in tasks[2:]]
        assert [report.outcome for report in reports] == [RETURNED, RETURNED]
        assert [conn.report(task).outcome for task in tasks[:2]] == [0, 0]


def test_a_function_that_was_never_sent_is_asked_for():
    dispatcher = Dispatcher()
    with Worker(dispatcher.address):
        conn = dispatcher.worker()
        conn.known[ADD] = os.urandom(16)
        report = conn.run(ADD, 1, 2)
        assert (report.outcome, report.kind) == (RETURNED, NEEDS_FUNCTION)
        del conn.known[ADD]
        assert conn.run(ADD, 1, 2).value() == 3


def test_nasty_functions_fail_with_a_reason_and_others_are_unharmed():
    def crash():
        import ctypes

        ctypes.string_at(0)

    def fork_and_stay():
        import os
        import time

        while True:
            try:
                if os.fork() == 0:
                    time.sleep(1000)
            except OSError:
                time.sleep(0.01)

    def close_and_stay():
        import os

        os.closerange(0, 4096)
        while True:
            pass

    def scribble():
        import os

        for end in range(3, 600):
            try:
                os.write(end, b"\xff" * 100)
            except OSError:
                pass
        while True:
            pass

    dispatcher = Dispatcher()
    with Worker(dispatcher.address, slots=2) as worker:
        conn = dispatcher.worker()
        for function, kind, words, timeout_s in (
            (leave, DIED, "exit status 7", 60),
            (crash, DIED, "SIGSEGV", 60),
            (endless, TIMED_OUT, "longer than its limit of 1s", 1),
            (eat, RAISED, "MemoryError", 60),
            (fork, RAISED, "BlockingIOError", 60),
            (fork_and_stay, TIMED_OUT, "longer than its limit of 1s", 1),
            (speak, OUTPUT, "printed more than", 60),
            (close, DIED, "closed the descriptors", 60),
            (close_and_stay, DIED, "closed the descriptors", 60),
            (scribble, DIED, "wrote into its slot", 60),
        ):
            (nasty,) = conn.give((code(function),), timeout_s=timeout_s)
            others = conn.give(*[(ADD, n, 1) for n in range(5)])
            reports = {task: conn.report(task) for task in others}
            for n, task in enumerate(others):
                if reports[task].outcome != RETURNED:
                    assert reports[task].value() == n + 1
            report = conn.report(nasty)
            error = report.failed(kind, words)
            print(f"    {function.__name__}: {report.words[:100]!r} ({type(error).__name__})")
        assert conn.run(ADD, 1, 2).value() == 3
        wait_for(lambda: len(set(pythons(worker))) <= 5, "a zygote, and two processes a slot")


def test_a_task_is_cancelled_while_it_runs_and_while_it_waits():
    dispatcher = Dispatcher()
    with Worker(dispatcher.address, slots=1):
        conn = dispatcher.worker()
        first, second = conn.give((SLEEP, 100), (SLEEP, 100))
        conn.cancel(second)
        time.sleep(0.005)
        conn.cancel(first)
        report = conn.report(second)
        assert report.outcome == RETURNED or report.failed(CANCELLED), report.outcome
        conn.report(first).failed(CANCELLED, "cancelled")
        assert conn.run(ADD, 1, 2).value() == 3


def test_a_slot_that_is_killed_gives_its_task_back_and_work_goes_on():
    dispatcher = Dispatcher()
    with Worker(dispatcher.address, slots=2) as worker:
        conn = dispatcher.worker()
        conn.run(ADD, 1, 2)
        done = lost = 0
        longest = 0.0
        for round in range(KILLS):
            tasks = conn.give((SLEEP, 0.3), (SLEEP, 0.3))
            time.sleep(0.05)
            # Not the zygote, which is the first: a slot, or the first process of its namespace.
            victims = pythons(worker)[1:]
            os.kill(victims[round % len(victims)], signal.SIGKILL)
            begun = time.monotonic()
            for task in tasks:
                report = conn.report(task)
                done += report.outcome == 0
                lost += (report.outcome, report.kind) == (RETURNED, SLOT_LOST)
            # On a busy machine the task may have been done before the kill, which then meets the next one.
            report = conn.run(ADD, round, 1)
            while (report.outcome, report.kind) == (RETURNED, SLOT_LOST):
                report = conn.run(ADD, round, 1)
            assert report.value() == round + 1
            longest = max(longest, time.monotonic() - begun)
        assert done + lost == 2 * KILLS and lost >= KILLS // 2, (done, lost)
        print(f"    {KILLS} kills: {done} done, {lost} given back, {longest * 1000:.0f} ms at most until work went on")


def test_a_zygote_that_is_killed_is_replaced():
    dispatcher = Dispatcher()
    with Worker(dispatcher.address, slots=2) as worker:
        conn = dispatcher.worker()
        (task,) = conn.give((SLEEP, 100))
        conn.run(ADD, 1, 2)
        before = pythons(worker)
        os.kill(before[0], signal.SIGKILL)
        report = conn.report(task)
        assert (report.outcome, report.kind) == (RETURNED, SLOT_LOST)
        wait_for(lambda: not any(is_running(pid) for pid in before), "its slots went with it")
        assert conn.run(ADD, 1, 2).value() == 3


def test_a_worker_that_is_killed_leaves_nobody():
    dispatcher = Dispatcher()
    for _ in range(KILLS):
        with Worker(dispatcher.address, slots=2) as worker:
            conn = dispatcher.worker()
            conn.run(ADD, 1, 2)

            def stray():
                import os
                import time

                for _ in range(2):
                    if os.fork() == 0:
                        os.setsid()
                        time.sleep(1000)
                time.sleep(1000)

            conn.give((code(stray),), (SLEEP, 100))
            wait_for(lambda: len(pythons(worker)) >= 7, "it forked")
            all_of_it = descendants(worker.process.pid)
            worker.process.kill()
            wait_for(lambda: not any(is_running(pid) for pid in all_of_it), "nobody is left")
            conn.close()


def test_what_is_left_of_a_session_is_not_said_in_the_next():
    dispatcher = Dispatcher()
    with Worker(dispatcher.address, slots=2):
        conn = dispatcher.worker()
        conn.acks = False
        (task,) = conn.give((ADD, 1, 2))
        assert conn.report(task).value() == 3
        slow = conn.give((SLEEP, 0.2), (SLEEP, 0.2))
        conn.close()
        conn = dispatcher.worker()
        assert conn.run(ADD, 3, 4).value() == 7
        time.sleep(0.3)
        assert conn.run(ADD, 5, 6).value() == 11
        assert not conn.reports, ("the lease of each had ended", slow)


def test_a_worker_without_its_service_ends_what_it_runs_and_comes_back():
    dispatcher = Dispatcher()
    with Worker(dispatcher.address, slots=1) as worker:
        conn = dispatcher.worker()
        (task,) = conn.give((SLEEP, 100))
        wait_for(lambda: len(pythons(worker)) >= 3, "it runs")
        time.sleep(0.1)
        conn.close()
        begun = time.monotonic()
        conn = dispatcher.worker()
        assert conn.run(ADD, 1, 2).value() == 3
        print(f"    {(time.monotonic() - begun) * 1000:.0f} ms until work went on")


def test_a_service_that_is_silent_is_left():
    dispatcher = Dispatcher()
    with Worker(dispatcher.address, slots=1):
        conn = dispatcher.worker(heartbeat_ms=50)
        conn.give((SLEEP, 100))
        again = dispatcher.worker()
        assert again.id == conn.id, "the same worker, with the same id"
        assert again.run(ADD, 1, 2).value() == 3


def test_sigterm_lets_running_tasks_finish():
    dispatcher = Dispatcher()
    with Worker(dispatcher.address, slots=1) as worker:
        conn = dispatcher.worker()
        (task,) = conn.give((SLEEP, 0.5))
        time.sleep(0.1)
        worker.process.send_signal(signal.SIGTERM)
        conn.wait_for(lambda: any(leaving for _, _, leaving in conn.beats))
        (late,) = conn.give((ADD, 1, 2))
        assert conn.report(late).outcome == RETURNED
        assert conn.report(task).value() is None
        assert worker.process.wait(30) == 0
        directory = pathlib.Path(tempfile.gettempdir(), f"faas-worker-{worker.process.pid}")
        assert not directory.exists()


def test_an_operator_is_told_what_is_wrong():
    def refused(words, status, *sentences):
        ended = subprocess.run([sys.argv[1], "worker", *words], capture_output=True, text=True, timeout=30)
        assert ended.returncode == status, (words, ended)
        for sentence in sentences:
            assert sentence in ended.stderr, (words, ended.stderr)

    refused(["--pull", "--push"], 2, "cannot be used with")
    refused(["--pull", "0"], 2)
    refused(["--pull", "1", "localhost"], 2, "tcp://HOST:PORT")
    refused(["--python", "/nowhere/python3"], 3, "cannot start --python /nowhere/python3")
    refused(["--preload", "nowhere_at_all"], 3, "nowhere_at_all")
    with tempfile.TemporaryDirectory() as place:
        old = os.path.join(place, "python")
        pathlib.Path(old).write_text("#!/bin/sh\necho 'Python 2.7.18 is too old' >&2\nexit 1\n")
        os.chmod(old, 0o755)
        refused(["--python", old], 3, "cannot run slots: Python 2.7.18 is too old")


def test_who_waits_takes_no_processor():
    def spent(pid):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    dispatcher = Dispatcher()
    with Worker(dispatcher.address, slots=4) as worker:
        conn = dispatcher.worker()
        threading.Thread(target=lambda: serve(conn), daemon=True).start()
        time.sleep(1)
        pids = [worker.process.pid, *descendants(worker.process.pid)]
        before = {pid: spent(pid) for pid in pids}
        time.sleep(5)
        used = {command(pid)[:20].replace("\0", " "): spent(pid) - before[pid] for pid in pids}
        print(f"    ticks of 10 ms in 5 s: {sum(used.values())} over {len(pids)} processes")
        assert sum(used.values()) <= 5, used


def serve(conn):
    try:
        while True:
            conn.hear()
    except Exception:
        pass


if __name__ == "__main__":
    run(sys.modules[__name__])
