"""The Python side of a worker by itself: what user code may do to its process, and what becomes of others."""

import ctypes
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import time

import dill

from _server import run
from _slot import MIB, Died, Zygote

RAISED, FUNCTION, ARGUMENTS, RESULT, OUTPUT = 1, 2, 3, 4, 8


def add(a, b):
    return a + b


def code(function):
    """Pickled by value, as a client's own program pickles what it defines."""
    return dill.dumps(function, recurse=True)


ADD = code(lambda a, b: a + b)


def failed(report, kind, *words):
    assert (report.outcome, report.kind) == (1, kind), (report.outcome, report.kind, report.words)
    for each in words:
        assert each in report.words, (each, report.words)
    error = pickle.loads(report.result)
    assert isinstance(error, BaseException), error
    return error


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_values_come_back():
    with Zygote() as zygote:
        slot = zygote.slot()
        assert slot.run(ADD, 1, 2).value() == 3
        assert slot.run(ADD, [1], b=[2]).value() == [1, 2]
        assert slot.run(dill.dumps(len), "abc").value() == 3
        assert dill.loads(slot.run(code(lambda n: lambda m: n + m), 1).result)(2) == 3
        big = os.urandom(20 * MIB)
        assert slot.run(code(lambda data: data[::-1]), big).value() == big[::-1]


def test_many_tasks_may_wait_in_a_slot():
    with Zygote() as zygote:
        slot = zygote.slot()
        sent = [slot.send(ADD, pickle.dumps(((n, 1), {}))) for n in range(100)]
        reports = [slot.report() for _ in sent]
        assert [each.task for each in reports] == sent
        assert [each.value() for each in reports] == [n + 1 for n in range(100)]


def test_a_record_may_come_in_pieces():
    with Zygote() as zygote:
        slot = zygote.slot()
        conn, pieces = slot.conn, bytearray()

        class Pieces:
            sendall = staticmethod(pieces.extend)

        slot.conn = Pieces
        slot.send(ADD, pickle.dumps(((b"x" * 200_000, b"y"), {})))
        slot.send(ADD, pickle.dumps(((1, 2), {})))
        slot.conn = conn
        for at in range(0, len(pieces), 30_000):
            conn.sendall(pieces[at : at + 30_000])
            time.sleep(0.002)
        assert len(slot.report().value()) == 200_001
        assert slot.report().value() == 3


def test_an_exception_comes_back_as_it_was_raised():
    def fail(kind):
        raise {"value": ValueError("no such colour", 7), "key": KeyError("k")}[kind]

    def own():
        class Own(Exception):
            pass

        raise Own("by value")

    def two_arguments():
        class Two(Exception):
            def __init__(self, a, b):
                super().__init__(a)

        raise Two(1, 2)

    with Zygote() as zygote:
        slot = zygote.slot()
        error = failed(slot.run(code(fail), "value"), RAISED, "ValueError", "no such colour")
        assert (type(error), error.args) == (ValueError, ("no such colour", 7))
        assert type(failed(slot.run(code(fail), "key"), RAISED)) is KeyError
        report = slot.run(code(own))
        assert report.words == "Own: by value" and type(dill.loads(report.result)).__name__ == "Own"
        assert str(failed(slot.run(code(two_arguments)), RAISED, "Two: 1")) == "Two: 1"
        assert "in fail" in slot.run(code(fail), "key").printed
        assert slot.is_well(ADD)


def test_exits_interrupts_and_recursion_are_failures_like_others():
    def leave():
        import sys

        sys.exit("enough")

    def interrupt():
        raise KeyboardInterrupt

    def recurse():
        def deeper():
            return deeper()

        return deeper()

    def hoard():
        return bytearray(1 << 40)

    def unspeakable():
        class Mute(Exception):
            def __str__(self):
                raise SystemExit

        raise Mute

    with Zygote() as zygote:
        slot = zygote.slot()
        assert type(failed(slot.run(code(leave)), RAISED, "SystemExit: enough")) is SystemExit
        assert type(failed(slot.run(code(interrupt)), RAISED)) is KeyboardInterrupt
        assert type(failed(slot.run(code(recurse)), RAISED, "RecursionError")) is RecursionError
        failed(slot.run(code(unspeakable)), RAISED, "Mute")
        assert slot.is_well(ADD)
        report = slot.run(code(hoard))
        assert type(failed(report, RAISED, "MemoryError")) is MemoryError and report.retires


def test_one_who_eats_memory_fails_and_others_do_not_notice():
    def eat():
        held = []
        while True:
            held.append(bytearray(10_000_000))

    with Zygote(memory=300 * MIB) as zygote:
        slot, other = zygote.slot(), zygote.slot()
        failed(slot.run(code(eat)), RAISED, "MemoryError")
        assert other.is_well(ADD)


def test_what_cannot_be_loaded_says_why():
    with Zygote() as zygote:
        slot = zygote.slot()
        failed(slot.run(b"not a pickle"), FUNCTION, "cannot be loaded by Python")
        failed(slot.run(b""), FUNCTION)
        failed(slot.run(pickle.dumps(7)), FUNCTION, "it is no function but int")
        failed(slot.run(b"\x80\x04cnowhere_at_all\nf\n."), FUNCTION, "nowhere_at_all", "--pythonpath")
        slot.send(ADD, b"\x80garbage")
        failed(slot.report(), ARGUMENTS)
        slot.send(ADD, pickle.dumps([1, 2, 3]))
        failed(slot.report(), ARGUMENTS, "pair")
        slot.send(ADD, pickle.dumps((1, 2)))
        failed(slot.report(), ARGUMENTS, "tuple and dict")
        assert slot.is_well(ADD)


def test_what_cannot_be_returned_says_why():
    def generator():
        return (n for n in range(3))

    with Zygote(result=MIB) as zygote:
        slot = zygote.slot()
        failed(slot.run(code(generator)), RESULT, "generator", "cannot be pickled")
        failed(slot.run(code(lambda: b"x" * 2 * MIB if (MIB := 1 << 20) else 0)), RESULT, "are allowed")
        assert slot.is_well(ADD)


def test_a_python_without_dill_says_so():
    with Zygote("/usr/bin/python3") as zygote:
        if zygote.facts["dill"]:
            raise AssertionError("this test needs a /usr/bin/python3 without dill")
        slot = zygote.slot()
        failed(slot.run(ADD), FUNCTION, "pip install dill")
        assert slot.run(pickle.dumps(len), "ab").value() == 2


def test_functions_of_a_module_need_its_path():
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        pathlib.Path(place, "mine.py").write_text("import os\ndef twice(n): return 2 * n\n")
        by_reference = b"\x80\x04cmine\ntwice\n."
        with Zygote(pythonpath=[place]) as zygote:
            assert zygote.slot().run(by_reference, 21).value() == 42
        with Zygote() as zygote:
            failed(zygote.slot().run(by_reference, 21), FUNCTION, "mine")
        with Zygote(pythonpath=[place], preload=["mine"]) as zygote:
            assert zygote.slot().run(code(lambda: "mine" in __import__("sys").modules)).value() is True


def test_ends_of_a_process_are_told():
    def leave(status):
        import os

        os._exit(status)

    def crash():
        import ctypes

        ctypes.string_at(0)

    def kill():
        import os

        os.kill(os.getpid(), 9)

    def abort():
        import os

        os.abort()

    with Zygote() as zygote:
        other = zygote.slot()
        for function, how in (
            (lambda: leave(3), "exit 3"),
            (crash, "signal 11"),
            (kill, "signal 9"),
            (abort, "signal 6"),
        ):
            slot = zygote.slot()
            try:
                slot.run(code(function))
                raise AssertionError("it answered")
            except Died:
                assert slot.end() == how, how
        assert other.is_well(ADD)


def test_one_who_closes_every_descriptor_is_told_by_its_end():
    def close():
        import os

        os.closerange(0, 4096)

    with Zygote() as zygote:
        slot = zygote.slot()
        try:
            slot.run(code(close))
            raise AssertionError("it answered")
        except Died:
            assert slot.end() == "exit 113"


def test_an_endless_function_ends_when_it_is_killed_with_all_it_started():
    def endless(path):
        import os
        import time

        pids = []
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                os.setsid()
                while True:
                    time.sleep(1)
            pids.append(pid)
        print("x", file=open(path, "w"), flush=True)
        while True:
            pass

    with Zygote() as zygote, tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o777)
        slot, other = zygote.slot(), zygote.slot()
        before = descendants(zygote.process.pid)
        path = os.path.join(place, "begun")
        slot.send(code(endless), pickle.dumps(((path,), {})))
        while not os.path.exists(path):
            time.sleep(0.01)
        started = set(descendants(zygote.process.pid)) - set(before)
        assert len(started) == 3, started
        slot.kill()
        wait_for(lambda: not any(is_running(pid) for pid in started), "all it started is gone")
        assert other.is_well(ADD)


def descendants(pid):
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *descendants(int(child))]
    return found


def wait_for(holds, what):
    until = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.01)


def test_a_fork_bomb_is_bounded_and_ends_with_its_slot():
    def bomb():
        import os

        while True:
            os.fork()

    with Zygote() as zygote:
        slot, other = zygote.slot(), zygote.slot()
        before = descendants(zygote.process.pid)
        report = slot.run(code(bomb))
        failed(report, RAISED, "BlockingIOError")
        assert report.retires
        slot.end()
        assert set(descendants(zygote.process.pid)) < set(before)
        assert other.is_well(ADD)


def test_a_child_that_user_code_forked_says_nothing():
    def twice():
        import os

        os.fork()
        return os.getpid()

    with Zygote() as zygote:
        slot = zygote.slot()
        slot.send(code(twice), pickle.dumps(((), {})))
        slot.report().value()
        try:
            slot.report()
            raise AssertionError("there were two reports")
        except Died:
            slot.end()


def test_threads_and_processes_left_running_retire_the_slot():
    def thread():
        import threading
        import time

        threading.Thread(target=time.sleep, args=(100,), daemon=True).start()
        return 1

    def process():
        import subprocess

        subprocess.Popen(["sleep", "100"])
        return 2

    def clean():
        import concurrent.futures
        import subprocess

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(abs, range(10)))
        return subprocess.run(["echo", "hi"], stdout=subprocess.PIPE).stdout

    with Zygote() as zygote:
        for function, value, retires in ((thread, 1, 1), (process, 2, 1), (clean, b"hi\n", 0)):
            slot = zygote.slot()
            report = slot.run(code(function))
            assert (report.value(), report.retires) == (value, retires), function


def test_output_is_kept_to_its_end_and_never_in_the_way():
    def speak():
        import os
        import subprocess
        import sys

        print("one")
        sys.stdout.flush()
        os.write(2, b"two\n")
        subprocess.run(["echo", "three"])

    with Zygote() as zygote:
        slot = zygote.slot()
        assert slot.run(code(speak)).printed == "one\ntwo\nthree\n"
        assert slot.run(ADD, 1, 2).printed == ""
        assert len(slot.run(code(lambda: print("x" * 100_000))).printed) == 8192
        assert slot.is_well(ADD)


def test_who_prints_without_end_fails():
    def endless():
        while True:
            print("x" * 1000)

    def stubborn():
        for _ in range(10_000):
            try:
                print("x" * 1000)
            except OSError:
                pass

    def below():
        import os

        while True:
            os.write(1, b"x" * 100_000)

    def beside():
        import subprocess

        subprocess.run(["yes"])

    with Zygote() as zygote:
        slot = zygote.slot()
        for function in (endless, stubborn, below, beside):
            failed(slot.run(code(function)), OUTPUT, "printed more than 1048576 bytes")
            assert slot.is_well(ADD)
        assert slot.run(code(lambda: print("hi"))).printed == "hi\n"


def test_the_next_task_finds_the_slot_as_the_first_did():
    def litter():
        import os
        import signal
        import sys

        os.makedirs("a/b")
        open("a/b/c", "w").write("x")
        os.symlink("/etc", "etc")
        os.chdir("a")
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        sys.setrecursionlimit(60)
        sys.stdout.close()
        sys.stdout = None
        return 1

    def look():
        import os
        import sys
        import time

        time.sleep(0.1)
        print("heard")
        return os.listdir("."), sys.getrecursionlimit() > 60

    with Zygote() as zygote:
        slot = zygote.slot()
        assert slot.run(code(litter)).value() == 1
        report = slot.run(code(look))
        assert report.value() == ([], True) and report.printed == "heard\n"
        assert os.path.exists("/etc/passwd")


def test_a_task_knows_its_id_and_attempt():
    def who():
        import os

        return os.environ["FAAS_TASK_ID"], os.environ["FAAS_ATTEMPT"]

    with Zygote() as zygote:
        slot = zygote.slot()
        task = slot.send(code(who), pickle.dumps(((), {})), attempt=3)
        name, attempt = slot.report().value()
        assert name.replace("-", "") == task.hex() and attempt == "3"


def test_jails_hold_where_they_are_said_to():
    def look():
        import os
        import socket

        found = {"user": os.getuid(), "groups": os.getgroups(), "here": os.listdir(".")}
        found["no new privileges"] = "NoNewPrivs:\t1" in open("/proc/thread-self/status").read()
        try:
            socket.create_connection(("127.0.0.1", 1), timeout=1)
        except OSError as error:
            found["network"] = error.errno
        try:
            os.kill(1, 0)
            found["kill"] = "may"
        except OSError as error:
            found["kill"] = type(error).__name__
        try:
            open("/etc/ringwise-was-here", "w")
            found["write"] = "may"
        except OSError:
            found["write"] = "may not"
        try:
            os.setuid(0)
            found["root"] = "may"
        except OSError:
            found["root"] = "may not"
        return found

    with Zygote() as zygote:
        slot, other = zygote.slot(), zygote.slot()
        jails, found = zygote.facts["jails"], slot.run(code(look)).value()
        print("   ", zygote.facts)
        assert found["no new privileges"] and found["here"] == []
        if os.getuid() == 0:
            assert "own-user" in jails, zygote.facts
        if "own-user" in jails:
            assert found["user"] != 0 and found["groups"] == [] and found["kill"] == "PermissionError"
            assert found["user"] != other.run(code(look)).value()["user"]
            assert found["write"] == "may not" and found["root"] == "may not"
        if "no-network" in jails:
            assert found["network"] == 101, "the network is unreachable"


def test_an_operator_who_names_what_is_not_there_is_told():
    try:
        Zygote(preload=["nowhere_at_all"])
        raise AssertionError("it began")
    except AssertionError as error:
        assert "--preload nowhere_at_all" in str(error), error


def test_who_waits_takes_no_processor():
    def ticks(pid):
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    def switches(pid):
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if "ctxt_switches" in line)

    with Zygote() as zygote:
        slots = [zygote.slot() for _ in range(4)]
        assert all(slot.is_well(ADD) for slot in slots)
        time.sleep(0.2)
        pids = [zygote.process.pid, *descendants(zygote.process.pid)]
        before = [(ticks(pid), switches(pid)) for pid in pids]
        time.sleep(2)
        assert [(ticks(pid), switches(pid)) for pid in pids] == before


def test_bytes_of_another_python_are_told():
    """Pickled by real Pythons of other versions: corpus/pickled/make.sh says how."""
    place = pathlib.Path(__file__).parents[2] / "systems/faas/corpus/pickled"
    files = sorted(place.glob("*.pickle"))
    assert len(files) >= 6, "the corpus is there"
    ours = "%d.%d" % sys.version_info[:2]
    with Zygote() as zygote:
        for file in files:
            version = file.stem.split("-")[1]
            slot = zygote.slot()
            try:
                report = slot.run(file.read_bytes(), 3)
            except Died:
                raise AssertionError(f"{file.name} ended its slot: {slot.end()}") from None
            if version == ours:
                assert report.value() == 10, file
            else:
                failed(report, FUNCTION, "another Python", "this is Python " + ours)
        assert zygote.slot().is_well(ADD)


if __name__ == "__main__":
    run(sys.modules[__name__])
