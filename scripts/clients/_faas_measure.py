"""What faas can bear: tasks a second and how long one takes, in each mode, with so many slots, kept or in memory; the
classic experiments; and the same tasks by Celery with Redis. Prints a line for each measurement, JSON at the end.

    python _faas_measure.py PROGRAM rates [--modes local,pull,push] [--slots 1,2,4] [--stores memory,log]
    python _faas_measure.py PROGRAM weak          N one-second sleeps over k slots
    python _faas_measure.py PROGRAM load          latency against load in each mode
    python _faas_measure.py PROGRAM celery        the same no-op tasks by Celery with Redis and by faas, by turns
    python _faas_measure.py PROGRAM idle          processor time of everything while nothing is asked
    python _faas_measure.py PROGRAM queued        memory of 100,000 queued tasks, and a restart that keeps them

`--save FOLDER` keeps a page and all numbers there.
"""

import argparse
import json
import os
import pathlib
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time

from _faas import Faas, eventually, pickled, scratch
from _faas_processes import children
from _faas_record import keep, load as load_averages

NO_OP_ARGUMENTS = pickled(((), {}))


def no_op():
    return None


def sleeps(seconds):
    import time

    time.sleep(seconds)


def warm(faas, slots):
    """A function that every slot has run."""
    eventually(lambda: faas.get("/").json()["slots"] == slots)
    function = faas.register(no_op)
    for _ in range(3):
        for task in [faas.execute(function) for _ in range(4 * slots)]:
            faas.result(task)
    return function


class Service:
    """A service with workers that are programs of their own, as users have them."""

    def __init__(self, program, mode, slots, store, *options):
        self.folder = tempfile.TemporaryDirectory(prefix="ringwise-faas-")
        store = f"log:{self.folder.name}" if store == "log" else store
        local = ["--workers", str(slots)] if mode == "local" else []
        self.faas = Faas(*local, *options, mode=mode, store=store, program=program)
        self.program, self.mode, self.slots, self.worker = program, mode, slots, None

    def __enter__(self):
        faas = self.faas.start()
        if self.mode != "local":
            host, port = faas.dispatch
            command = [self.program, "worker", f"--{self.mode}", str(self.slots), f"tcp://{host}:{port}"]
            self.worker = subprocess.Popen(command)
        return faas

    def __exit__(self, *failure):
        if self.worker:
            self.worker.terminate()
            self.worker.wait()
        self.faas.stop()
        self.folder.cleanup()


def completed(faas):
    return faas.get("/").json()["tasks"]["completed"]


def batch(faas, function, count, size=1000):
    """Tasks a second, from the first batch until the last result is there."""
    body = json.dumps({"tasks": [{"function_id": function, "payload": NO_OP_ARGUMENTS}] * size})
    before, began = completed(faas), time.perf_counter()
    for _ in range(count // size):
        answer = faas.post("/execute_functions", data=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 201
    submitted = time.perf_counter() - began
    while completed(faas) < before + count:
        time.sleep(0.002)
    return count / (time.perf_counter() - began), count / submitted


def request(function, path):
    body = json.dumps({"function_id": function, "payload": NO_OP_ARGUMENTS})
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode()


def talk(faas):
    host, port = faas.base.removeprefix("http://").split(":")
    made = socket.create_connection((host, int(port)))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def whole(data):
    """Whether an answer is whole."""
    head, found, body = data.partition(b"\r\n\r\n")
    if not found:
        return False
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    return len(body) >= length


def singly(faas, function, count, clients=50):
    """Tasks a second, one request each, from so many clients at once, until the last result is there."""
    asked = request(function, "/execute_function")
    talks = [talk(faas) for _ in range(clients)]
    by_number = {each.fileno(): [each, b""] for each in talks}
    poll = select.epoll()
    before, began, sent, answered = completed(faas), time.perf_counter(), 0, 0
    for each in talks:
        poll.register(each, select.EPOLLIN)
        each.sendall(asked)
        sent += 1
    while answered < count:
        for number, _ in poll.poll():
            entry = by_number[number]
            entry[1] += entry[0].recv(65536)
            if whole(entry[1]):
                assert entry[1].startswith(b"HTTP/1.1 201 "), entry[1]
                entry[1] = b""
                answered += 1
                if sent < count:
                    entry[0].sendall(asked)
                    sent += 1
    accepted = time.perf_counter() - began
    while completed(faas) < before + count:
        time.sleep(0.002)
    ran = time.perf_counter() - began
    for each in talks:
        each.close()
    return count / ran, count / accepted


def lone(faas, function, count):
    """Microseconds from asking to the result, one task at a time."""
    asked, made, spans = request(function, "/execute_function?wait=30"), talk(faas), []
    for _ in range(count):
        began, data = time.perf_counter_ns(), b""
        made.sendall(asked)
        while not whole(data):
            data += made.recv(65536)
        spans.append((time.perf_counter_ns() - began) / 1000)
        assert b'"COMPLETED"' in data, data
    made.close()
    spans.sort()
    return spans[len(spans) // 2], spans[len(spans) * 99 // 100]


def rates(program, options):
    rows = []
    for store in options.stores.split(","):
        for mode in options.modes.split(","):
            for slots in map(int, options.slots.split(",")):
                with Service(program, mode, slots, store) as faas:
                    function = warm(faas, slots)
                    p50, p99 = lone(faas, function, options.lone)
                    by_batch, submitted = batch(faas, function, options.count)
                    one_by_one, accepted = singly(faas, function, options.count)
                row = dict(
                    store=store, mode=mode, slots=slots, lone_p50_us=p50, lone_p99_us=p99, batch=by_batch,
                    batch_submitted=submitted, singly=one_by_one, singly_accepted=accepted,
                )
                print({key: round(value) if isinstance(value, float) else value for key, value in row.items()}, flush=True)
                rows.append(row)
    return rows


def weak(program, options):
    """N one-second sleeps over k slots take N/k seconds, and what more is the price."""
    rows = []
    for mode in options.modes.split(","):
        for slots in (1, 2, 4, 8):
            with Service(program, mode, slots, "memory") as faas:
                warm(faas, slots)
                function = faas.register(sleeps)
                tasks, began = 2 * slots, time.perf_counter()
                for task in [faas.execute(function, 1) for _ in range(tasks)]:
                    assert faas.result(task)[0] == "COMPLETED"
                seconds = time.perf_counter() - began
            rows.append(dict(mode=mode, slots=slots, tasks=tasks, seconds=seconds, ideal=tasks / slots))
            print(rows[-1], flush=True)
    return rows


def load(program, options):
    """p50 and p99 of submit to result, while so many tasks a second are asked for."""
    rows = []
    for mode in options.modes.split(","):
        with Service(program, mode, 2, "memory") as faas:
            function = warm(faas, 2)
            for rate in (100, 500, 1000, 2000, 4000):
                spans = paced(faas, function, rate, seconds=3)
                rows.append(dict(mode=mode, rate=rate, p50_us=spans[len(spans) // 2], p99_us=spans[len(spans) * 99 // 100]))
                print(rows[-1], flush=True)
    return rows


def paced(faas, function, rate, seconds, clients=64):
    """Each request has its time, whether the one before it is answered or not; spans count from that time."""
    asked, free, busy, spans = request(function, "/execute_function?wait=30"), [talk(faas) for _ in range(clients)], {}, []
    poll, waiting, count = select.epoll(), [], int(rate * seconds)
    began, due = time.perf_counter(), 0
    while len(spans) < count:
        now = time.perf_counter() - began
        while due < count and due / rate <= now:
            waiting.append(due / rate)
            due += 1
        while waiting and free:
            made = free.pop()
            busy[made.fileno()] = [made, waiting.pop(0), b""]
            poll.register(made, select.EPOLLIN)
            made.sendall(asked)
        until = (due / rate - (time.perf_counter() - began)) if due < count else 1
        for number, _ in poll.poll(max(until, 0)):
            entry = busy[number]
            entry[2] += entry[0].recv(65536)
            if whole(entry[2]):
                spans.append((time.perf_counter() - began - entry[1]) * 1e6)
                poll.unregister(entry[0])
                free.append(busy.pop(number)[0])
    for made in free:
        made.close()
    return sorted(spans)


CELERY = """
import celery
app = celery.Celery("tasks", broker="redis://127.0.0.1:{port}/0", backend="redis://127.0.0.1:{port}/1")
app.conf.worker_prefetch_multiplier = 64
app.conf.task_acks_late = False
@app.task
def no_op():
    return None
"""


def celery(program, options):
    rows = []
    for turn in range(options.rounds):
        for slots in map(int, options.slots.split(",")):
            rows.append(dict(who="celery", turn=turn, slots=slots, **by_celery(slots, options)))
            print(rows[-1], flush=True)
            with Service(program, "local", slots, "log") as faas:
                function = warm(faas, slots)
                p50, p99 = lone(faas, function, options.lone)
                many, _ = batch(faas, function, options.count)
                one_by_one, _ = singly(faas, function, options.count)
            rows.append(
                dict(who="faas", turn=turn, slots=slots, lone_p50_us=p50, lone_p99_us=p99, batch=many, singly=one_by_one)
            )
            print(rows[-1], flush=True)
    for slots in map(int, options.slots.split(",")):
        of = lambda who, what: statistics.median(row[what] for row in rows if row["who"] == who and row["slots"] == slots)
        print(
            f"{slots} slots: batch {of('faas', 'batch') / of('celery', 'batch'):.1f} times, one by one "
            f"{of('faas', 'singly') / of('celery', 'batch'):.1f} times Celery's tasks a second; a lone task "
            f"{of('celery', 'lone_p50_us') / of('faas', 'lone_p50_us'):.1f} times as fast",
            flush=True,
        )
    return rows


def by_celery(slots, options):
    """No-op tasks by Celery with a Redis of its own: pooled connections, its fastest plain submitting."""
    with scratch() as folder:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        redis = subprocess.Popen(
            ["redis-server", "--port", str(port), "--save", "", "--appendonly", "no", "--dir", folder],
            stdout=subprocess.DEVNULL,
        )
        pathlib.Path(folder, "tasks.py").write_text(CELERY.format(port=port))
        worker = None
        try:
            sys.path.insert(0, folder)
            sys.modules.pop("tasks", None)
            import tasks

            eventually(lambda: answers(port), 10)
            worker = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "tasks", "worker", "-c", str(slots), "-l", "ERROR",
                 "--without-gossip", "--without-mingle", "--without-heartbeat"],
                cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                env={**os.environ, "C_FORCE_ROOT": "1"},
            )
            for _ in range(50):
                tasks.no_op.delay().get(timeout=60)
            spans = []
            for _ in range(min(options.lone, 500)):
                began = time.perf_counter_ns()
                tasks.no_op.delay().get(timeout=60, interval=0.0005)
                spans.append((time.perf_counter_ns() - began) / 1000)
            spans.sort()
            count = min(options.count, 3000)
            began = time.perf_counter()
            for asked in [tasks.no_op.delay() for _ in range(count)]:
                asked.get(timeout=60)
            rate = count / (time.perf_counter() - began)
            return dict(lone_p50_us=spans[len(spans) // 2], lone_p99_us=spans[len(spans) * 99 // 100], batch=rate)
        finally:
            sys.path.remove(folder)
            if worker:
                worker.terminate()
                worker.wait()
            redis.terminate()
            redis.wait()


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


def processor_seconds(pids):
    ticks = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


def idle(program, options):
    rows = []
    for mode in options.modes.split(","):
        service = Service(program, mode, 2, "log")
        with service as faas:
            warm(faas, 2)
            faas.http.close()
            time.sleep(3)
            pids = {"service": [faas.process.pid]}
            below = children(faas.process.pid) + (children(service.worker.pid) if service.worker else [])
            pids["below it"] = [pid for pid, _ in below] + ([service.worker.pid] if service.worker else [])
            before = {name: processor_seconds(some) for name, some in pids.items()}
            time.sleep(20)
            used = {name: processor_seconds(some) - before[name] for name, some in pids.items()}
        rows.append(dict(mode=mode, seconds=20, **used))
        print(rows[-1], flush=True)
    return rows


def resident(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def queued(program, options):
    """100,000 tasks that nobody runs."""
    rows = []
    for store in ("memory", "log"):
        with scratch() as folder:
            faas = Faas(mode="pull", store=f"log:{folder}" if store == "log" else store, program=program).start()
            function = faas.register(no_op)
            before = resident(faas.process.pid)
            body = json.dumps({"tasks": [{"function_id": function, "payload": NO_OP_ARGUMENTS}] * 1000})
            began = time.perf_counter()
            for _ in range(100):
                assert faas.post("/execute_functions", data=body).status_code == 201
            row = dict(store=store, seconds=time.perf_counter() - began, bytes_a_task=(resident(faas.process.pid) - before) / 1e5)
            if store == "log":
                row["disk"] = sum(each.stat().st_blocks * 512 for each in pathlib.Path(folder).rglob("*"))
                faas.kill()
                began = time.perf_counter()
                faas.start()
                row["restart_seconds"] = time.perf_counter() - began
                row["kept"] = faas.get("/").json()["tasks"]["queued"]
            faas.stop()
            rows.append(row)
            print(row, flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("what", choices=["rates", "weak", "load", "celery", "idle", "queued"])
    parser.add_argument("--modes", default="local,pull,push")
    parser.add_argument("--slots", default="1,2,4")
    parser.add_argument("--stores", default="memory,log")
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--lone", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--save", help="a folder for a page, all numbers, and a chart")
    options = parser.parse_args()
    before = load_averages()
    rows = globals()[options.what](options.program, options)
    print("JSON " + json.dumps(rows))
    if options.save:
        keep(options.save, options.what, rows, before)


if __name__ == "__main__":
    main()
