"""What the scheduler can bear: how soon a job runs elsewhere and somebody else acknowledges when a process is killed, how
long an acknowledgement and a result take alone, acknowledged submits a second beside beanstalkd and etcd by turns, many
ended jobs and a restart, and a burst over workers of different room. Prints a line for each measurement, JSON at the end.

    python _scheduler_measure.py PROGRAM workers [--times 50]    worker SIGKILL, until its job's program runs elsewhere
    python _scheduler_measure.py PROGRAM leaders [--times 50]    leader SIGKILL, until another job is acknowledged
    python _scheduler_measure.py PROGRAM alone [--times 500]     acknowledgement by a majority of three; result of `true`
    python _scheduler_measure.py PROGRAM submits --loadgen FILE  beside beanstalkd -f 0 and etcd
    python _scheduler_measure.py PROGRAM many [--count 1000000]  ended jobs: memory, log, compaction, restart
    python _scheduler_measure.py PROGRAM burst                   1,000 jobs over 3 workers; one that eats memory
"""

import argparse
import base64
import collections
import contextlib
import http.client
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

from _balancer import until
from _scheduler import ENDS, Scheduler, address, kill
from _server import free_ports

# A job that no worker ever has room for: a queue that nobody takes from, as beanstalkd's without a consumer.
WAITING = '{"program":"true","interpreter":"sh","cpu":1024}'
TRUE = '{"program":"true","interpreter":"sh"}'

# A client that takes more of its core does not show what the server can do.
CLIENT_SHARE_MAX = 0.85


def told(spans):
    """Percentiles of milliseconds."""
    spans = sorted(spans)
    at = lambda share: spans[min(len(spans) - 1, int(share * len(spans)))]
    found = {"times": len(spans), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "most": spans[-1]}
    return {name: round(value, 2) for name, value in found.items()}


class Talk:
    """One connection that is kept, for requests one after another."""

    def __init__(self, at):
        self.at = at
        self.connection = http.client.HTTPConnection(*at, timeout=10)

    def ask(self, method, path, body=None, key=None):
        headers = {"Idempotency-Key": key} if key else {}
        self.connection.request(method, path, body=body, headers=headers)
        answer = self.connection.getresponse()
        return answer.status, answer.read()

    def close(self):
        self.connection.close()


class Nodes:
    """So many equal nodes, each a process that is started by itself."""

    def __init__(self, count, *options):
        self.count, self.options = count, options

    def __enter__(self):
        self.data = tempfile.mkdtemp(prefix="scheduler-measure-")
        with open(f"{self.data}/key", "w") as file:
            file.write(os.urandom(32).hex())
        ports = free_ports(2 * self.count)
        self.nodes = [("127.0.0.1", port) for port in ports[: self.count]]
        links = ports[self.count :]
        each = enumerate(zip(ports, links), 1)
        self.cluster = ",".join(f"{number}=127.0.0.1:{port}/{link}" for number, (port, link) in each)
        self.processes = [self.start(number) for number in range(1, self.count + 1)]
        for process in self.processes:
            assert process.stdout.readline().startswith("READY scheduler "), "expected READY"
        until(lambda: all(Talk(at).ask("GET", "/healthz")[0] == 200 for at in self.nodes), "a leader")
        return self

    def start(self, number):
        words = [sys.argv[1], "node", "--id", str(number), "--cluster", self.cluster, "--key-file", f"{self.data}/key"]
        words += ["--data", f"{self.data}/{number}", "--log-level", "error", *self.options]
        return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def leader(self):
        found = []

        def holds():
            nodes = json.loads(Talk(self.nodes[0]).ask("GET", "/api/v1/nodes")[1])["nodes"]
            found[:] = [address(node["address"]) for node in nodes if node["role"] == "leader"]
            return len(found) == 1

        until(holds, "a leader")
        return found[0]

    def stop(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait(timeout=60)

    def __exit__(self, *failure):
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)


def starts(path):
    """When programs of a job began, by their own clock: nanoseconds since 1970."""
    with contextlib.suppress(FileNotFoundError):
        return [int(line) for line in pathlib.Path(path).read_text().split()]
    return []


def workers(asked):
    """From the kill until the job's program runs elsewhere, by the clock that the program itself reads."""
    spans = []
    with Scheduler("--restart-after", "500ms") as scheduler, tempfile.TemporaryDirectory() as folder:
        for number in range(asked.times):
            scheduler.settled()
            path = f"{folder}/{number}"
            job = scheduler.send(f"date +%s%N >>{path}; sleep 2", interpreter="sh", key=f"kill-{number}")
            worker = scheduler.wait(job, "running")["worker"]
            until(lambda: len(starts(path)) == 1, "it runs")
            node = scheduler.node(worker)
            began = time.time_ns()
            kill(node)
            until(lambda: len(starts(path)) == 2, "it runs elsewhere")
            spans.append((starts(path)[1] - began) / 1e6)
            history = scheduler.wait(job, "running", *ENDS)["history"]
            steps = [f"{event['what']} {event['at'] - began // 1_000_000}" for event in history[3:6]]
            scheduler.json("POST", f"/api/v1/jobs/{job}/cancel")
            print(f"worker {number}: elsewhere after {spans[-1]:.0f} ms ({', '.join(steps)})", flush=True)
    return {"what": "worker SIGKILL, until its job's program runs elsewhere", "ms": told(spans), "all_ms": spans}


def leaders(asked):
    """From the kill until a job that was sent after it is acknowledged, asked of a node that lives."""
    spans = []
    with Scheduler("--restart-after", "500ms") as scheduler:
        for number in range(asked.times):
            scheduler.settled()
            leader = scheduler.leader()
            others = [at for at in scheduler.nodes if at != address(leader["address"])]
            talk = Talk(others[number % len(others)])
            talk.ask("GET", "/healthz")
            began = kill(leader)
            until_acknowledged(talk, f"leader-{number}")
            spans.append((time.monotonic() - began) * 1000)
            talk.close()
            print(f"leader {number}: acknowledged after {spans[-1]:.0f} ms", flush=True)
    return {"what": "leader SIGKILL, until the next acknowledgement", "ms": told(spans), "all_ms": spans}


def until_acknowledged(talk, key):
    """As a client does that is refused: the same key again."""
    late = time.monotonic() + 30
    while True:
        status, _ = talk.ask("POST", "/api/v1/jobs", TRUE, key)
        if status == 201:
            return
        assert status == 503 and time.monotonic() < late, status
        time.sleep(0.01)


def alone(asked):
    """One client that asks and waits, three nodes, nothing else to do."""
    acknowledged, results = [], []
    with Nodes(3) as nodes:
        leader = nodes.leader()
        talk = Talk(leader)
        for number in range(asked.times + 20):
            began = time.perf_counter()
            status, body = talk.ask("POST", "/api/v1/jobs", TRUE, f"alone-{number}")
            until_known = time.perf_counter()
            assert status == 201, (status, body)
            path = f"/api/v1/jobs/{json.loads(body)['id']}/result"
            while talk.ask("GET", path)[0] != 200:
                time.sleep(0.0005)
            if number >= 20:
                acknowledged.append((until_known - began) * 1000)
                results.append((time.perf_counter() - began) * 1000)
        talk.close()
    found = [("submit, until a majority of three has it on disk", acknowledged), ("submit, until the result of true", results)]
    return [{"what": what, "ms": told(spans), "all_ms": spans} for what, spans in found]


class Beanstalkd:
    """Syncs each put before it answers."""

    name = "beanstalkd -f 0"

    def __enter__(self):
        self.data = tempfile.mkdtemp(prefix="beanstalkd-measure-")
        [self.port] = free_ports(1)
        words = ["beanstalkd", "-l", "127.0.0.1", "-p", str(self.port), "-b", self.data, "-f", "0"]
        self.process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
        until(lambda: connected(self.port), "beanstalkd")
        return self

    def pids(self):
        return [self.process.pid]

    def run(self, asked, connections):
        return puts(self.port, connections, asked.seconds)

    def __exit__(self, *failure):
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.data, ignore_errors=True)


class Etcd:
    """So many members, each of which syncs before it counts."""

    def __init__(self, count):
        self.count, self.name = count, f"etcd, {count} member{'s' * (count > 1)}"

    def __enter__(self):
        self.data = tempfile.mkdtemp(prefix="etcd-measure-")
        ports = free_ports(2 * self.count)
        self.ports, peers = ports[: self.count], ports[self.count :]
        cluster = ",".join(f"m{number}=http://127.0.0.1:{port}" for number, port in enumerate(peers))
        self.processes = []
        for number, (port, peer) in enumerate(zip(self.ports, peers)):
            words = ["etcd", "--name", f"m{number}", "--data-dir", f"{self.data}/{number}", "--logger", "zap"]
            words += ["--listen-client-urls", f"http://127.0.0.1:{port}", "--advertise-client-urls", f"http://127.0.0.1:{port}"]
            words += ["--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"]
            words += ["--initial-cluster", cluster, "--initial-cluster-state", "new", "--log-level", "error"]
            self.processes.append(subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        until(self.is_ready, "etcd")
        return self

    def is_ready(self):
        with contextlib.suppress(OSError):
            return all(Talk(("127.0.0.1", port)).ask("GET", "/health")[0] == 200 for port in self.ports)

    def pids(self):
        return [process.pid for process in self.processes]

    def run(self, asked, connections):
        value = base64.b64encode(WAITING.encode()).decode()
        body = json.dumps({"key": base64.b64encode(b"job").decode(), "value": value})
        return load(asked, f"http://127.0.0.1:{self.ports[0]}/v3/kv/put", connections, "--method", "POST", "--body", body)

    def __exit__(self, *failure):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        shutil.rmtree(self.data, ignore_errors=True)


class Ours:
    """So many nodes; the leader is asked, as who looks for it does."""

    def __init__(self, count):
        self.nodes, self.name = Nodes(count), f"scheduler, {count} node{'s' * (count > 1)}"

    def __enter__(self):
        self.nodes.__enter__()
        return self

    def pids(self):
        return [process.pid for process in self.nodes.processes]

    def run(self, asked, connections):
        host, port = self.nodes.leader()
        return load(asked, f"jobs://{host}:{port}", connections, "--body", WAITING)

    def __exit__(self, *failure):
        self.nodes.__exit__(*failure)


def connected(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def load(asked, target, connections, *words):
    """A closed loop by loadgen: how many a second were right, and percentiles of milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [asked.loadgen, "run", target, "-c", str(connections), "-d", f"{asked.seconds}s", "-w", "500ms"]
        command += ["--no-load", "-o", folder, *words]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        run = json.loads(pathlib.Path(folder, "run.json").read_text())
    service = {name: run["latency_us"]["service"][name] / 1000 for name in ("p50", "p99", "max")}
    assert not run["errors"], run["errors"]
    return {"rate": run["rate"], "p50_ms": service["p50"], "p99_ms": service["p99"], "verdict": run["verdict"], "why": run["why"]}


def puts(port, connections, seconds):
    """The same of beanstalkd, whose protocol is no HTTP: each connection puts again when it was answered."""
    body = WAITING.encode()
    asked = b"put 0 0 60 %d\r\n%s\r\n" % (len(body), body)
    talks = {made.fileno(): made for made in (socket.create_connection(("127.0.0.1", port)) for _ in range(connections))}
    poll, since, spans, over = select.epoll(), {}, [], time.perf_counter() + seconds
    for number, made in talks.items():
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(number, select.EPOLLIN)
        since[number] = time.perf_counter()
        made.sendall(asked)
    began, before = time.perf_counter(), time.process_time()
    while time.perf_counter() < over:
        for number, _ in poll.poll(1):
            answer = talks[number].recv(4096)
            assert answer.startswith(b"INSERTED "), answer
            now = time.perf_counter()
            spans.append((now - since[number]) * 1000)
            since[number] = now
            talks[number].sendall(asked)
    span = time.perf_counter() - began
    share = (time.process_time() - before) / span
    for made in talks.values():
        made.close()
    verdict = "VALID" if share < CLIENT_SHARE_MAX else "INVALID"
    why = "" if verdict == "VALID" else f"generator-limited: the client took {share:.2f} of a core"
    ms = told(spans)
    return {"rate": len(spans) / span, "p50_ms": ms["p50"], "p99_ms": ms["p99"], "verdict": verdict, "why": why}


def processor_seconds(pids):
    found = 0
    for pid in pids:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        found += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def submits(asked):
    """By turns, each on a fresh disk's folder, in rounds."""
    rows = []
    for number in range(asked.rounds):
        for connections in [int(each) for each in asked.connections.split(",")]:
            for kind in [Ours(1), Ours(3), Beanstalkd(), Etcd(1), Etcd(3)]:
                with kind:
                    before = processor_seconds(kind.pids())
                    found = kind.run(asked, connections)
                    cpu = processor_seconds(kind.pids()) - before
                row = {"round": number, "connections": connections, "who": kind.name, "cpu_seconds": cpu, **found}
                rows.append(row)
                print(json.dumps(row), flush=True)
    return rows


def resident(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


def folder_bytes(path):
    return sum(file.stat().st_size for file in pathlib.Path(path).rglob("*") if file.is_file())


def many(asked):
    """So many jobs that end, by being cancelled where no worker has room, on three nodes: what is kept of them."""
    rows, threads = [], []
    with Nodes(3, "--keep-every", str(asked.keep_every)) as nodes:
        leader, began = nodes.leader(), time.perf_counter()
        each = asked.count // SENDERS
        for number in range(SENDERS):
            threads.append(threading.Thread(target=send_and_cancel, args=(leader, number, each), daemon=True))
            threads[-1].start()
        steps = 0
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.5)
            if time.perf_counter() - began >= steps * 10:
                steps += 1
                rows.append(state(nodes, leader, time.perf_counter() - began))
                print(json.dumps(rows[-1]), flush=True)
        rows.append(state(nodes, leader, time.perf_counter() - began))
        nodes.stop()
        began = time.perf_counter()
        nodes.processes = [nodes.start(number) for number in range(1, nodes.count + 1)]
        for process in nodes.processes:
            assert process.stdout.readline().startswith("READY scheduler "), "expected READY"
        ready = time.perf_counter() - began
        until(lambda: all(Talk(at).ask("GET", "/healthz")[0] == 200 for at in nodes.nodes), "a leader")
        led = time.perf_counter() - began
        rows.append({**state(nodes, nodes.leader(), 0), "restart_ready_s": ready, "restart_leads_s": led})
        print(json.dumps(rows[-1]), flush=True)
    return rows


SENDERS = 32


def send_and_cancel(at, sender, count):
    talk = Talk(at)
    for number in range(count):
        status, body = talk.ask("POST", "/api/v1/jobs", WAITING, f"many-{sender}-{number}")
        assert status == 201, (status, body)
        status, body = talk.ask("POST", f"/api/v1/jobs/{json.loads(body)['id']}/cancel")
        assert status == 200, (status, body)


def state(nodes, leader, seconds):
    """What a cluster takes at this moment."""
    metrics = Talk(leader).ask("GET", "/metrics")[1].decode()
    gauge = lambda name: sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith(name))
    return {
        "seconds": seconds,
        "applied": gauge("scheduler_applied_index"),
        "ended": gauge('scheduler_jobs{state="ended"'),
        "ledger_bytes": gauge("scheduler_ledger_bytes"),
        "resident_bytes": [resident(process.pid) for process in nodes.processes],
        "disk_bytes": [folder_bytes(f"{nodes.data}/{number}") for number in range(1, nodes.count + 1)],
    }


def burst(asked):
    """A thousand jobs at once over three workers of different room: who ran how many, and how many at once."""
    with Scheduler("--rooms", "1:8192,1:2048,2:4096,4:8192") as scheduler:
        scheduler.settled()
        rooms = {node["id"]: node["room"] for node in scheduler.all_nodes() if node["role"] == "worker"}
        began, threads, jobs = time.perf_counter(), [], []

        def send(sender):
            talk = Talk(scheduler.nodes[sender % len(scheduler.nodes)])
            body = json.dumps({"program": "sleep 0.2", "interpreter": "sh", "cpu": 0.25, "memory_mb": 32})
            for number in range(100):
                status, answer = talk.ask("POST", "/api/v1/jobs", body, f"burst-{sender}-{number}")
                assert status == 201, (status, answer)
                jobs.append(json.loads(answer)["id"])

        for sender in range(10):
            threads.append(threading.Thread(target=send, args=(sender,)))
            threads[-1].start()
        for thread in threads:
            thread.join()
        accepted = time.perf_counter() - began
        ran = collections.Counter()
        for job in jobs:
            found = scheduler.wait(job)
            assert found["state"] == "finished", found
            ran[found["worker"]] += 1
        span = time.perf_counter() - began
        hungry = scheduler.wait(scheduler.send("x = bytearray(1 << 30); print(len(x))", memory_mb=64, key="hungry"))
        assert hungry["state"] == "failed", hungry
    rows = [{"worker": worker, "cpu": rooms[worker]["cpu"], "memory_mb": rooms[worker]["memory_mb"], "ran": ran[worker]} for worker in sorted(rooms)]
    for row in rows:
        print(json.dumps(row), flush=True)
    result = hungry["result"]
    return {"rows": rows, "accepted_s": accepted, "all_s": span, "hungry": {"why": result["why"], "stderr": result["stderr"][-200:]}}


MEASURES = {"workers": workers, "leaders": leaders, "alone": alone, "submits": submits, "many": many, "burst": burst}


def main():
    typed = argparse.ArgumentParser()
    typed.add_argument("program")
    typed.add_argument("measure", choices=MEASURES)
    typed.add_argument("--times", type=int, default=50)
    typed.add_argument("--rounds", type=int, default=3)
    typed.add_argument("--seconds", type=int, default=5)
    typed.add_argument("--connections", default="1,50,500")
    typed.add_argument("--count", type=int, default=1_000_000)
    typed.add_argument("--keep-every", type=int, default=20_000)
    typed.add_argument("--loadgen", default="target/release/loadgen")
    asked = typed.parse_args()
    print("JSON " + json.dumps(MEASURES[asked.measure](asked)))


if __name__ == "__main__":
    main()
