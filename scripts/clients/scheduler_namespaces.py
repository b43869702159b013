"""Five nodes in five network namespaces, two of them cut off under load for `RINGWISE_CUT_SECONDS` (8 where it is not
given): what each side answers meanwhile, and what is left afterwards of every job that was acknowledged.

Needs root and `ip` (iproute2). It runs in a network namespace of its own, so that nothing of it is seen outside.
"""

import collections
import contextlib
import http.client
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

from _scheduler import ENDS, PATIENCE_SECONDS

CUT_SECONDS = float(os.environ.get("RINGWISE_CUT_SECONDS", "8"))
NODES = 5
CUT_OFF = (1, 2)
PORT = 3002


def run(*words):
    subprocess.run(words, check=True)


def host(node):
    return f"10.77.0.{node}"


def name(node):
    return f"sched-{os.getpid()}-{node}"


def build():
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", "bridge", "type", "bridge")
    run("ip", "addr", "add", "10.77.0.254/24", "dev", "bridge")
    run("ip", "link", "set", "bridge", "up")
    for node in range(1, NODES + 1):
        run("ip", "netns", "add", name(node))
        run("ip", "link", "add", f"out{node}", "type", "veth", "peer", "name", "eth0", "netns", name(node))
        run("ip", "link", "set", f"out{node}", "master", "bridge", "up")
        inside = ["ip", "-n", name(node)]
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "addr", "add", f"{host(node)}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")


def start(node, data):
    cluster = ",".join(f"{each}={host(each)}:{PORT}" + ("/log" if each == NODES else "") for each in range(1, NODES + 1))
    word = "log" if node == NODES else "node"
    command = ["ip", "netns", "exec", name(node), sys.argv[1], word, "--id", str(node), "--cluster", cluster]
    command += ["--data", f"{data}/{node}", "--listen", host(node), "--insecure-open", "--key-file", f"{data}/key"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def ask(node, method, path, value=None, key=None, timeout=10):
    connection = http.client.HTTPConnection(host(node), PORT, timeout=timeout)
    try:
        headers = {"Idempotency-Key": key} if key else {}
        connection.request(method, path, body=None if value is None else json.dumps(value), headers=headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def within(node, path, value, key):
    """The same asked from within the node's own namespace: the only place where a node that is cut off is heard."""
    words = ["ip", "netns", "exec", name(node), "curl", "-s", "-m", "10", "-w", "\n%{http_code}", "-XPOST"]
    words += ["-H", f"Idempotency-Key: {key}", "-d", json.dumps(value), f"http://{host(node)}:{PORT}{path}"]
    *body, status = subprocess.run(words, capture_output=True, text=True).stdout.split("\n")
    return int(status or 0), "\n".join(body)


def until(holds, what):
    late = time.monotonic() + PATIENCE_SECONDS
    while True:
        with contextlib.suppress(OSError, ValueError):
            if holds():
                return
        assert time.monotonic() < late, what
        time.sleep(0.1)


def leader(among):
    for node in among:
        with contextlib.suppress(OSError, ValueError):
            status, answer = ask(node, "GET", "/api/v1/nodes", timeout=2)
            found = [each for each in answer["nodes"] if each["role"] == "leader" and each["state"] == "alive"]
            if status == 200 and found:
                return int(found[0]["id"].split("-")[1])
    return None


def main():
    data = tempfile.mkdtemp(prefix="scheduler-namespaces-")
    with open(f"{data}/key", "w") as file:
        file.write(os.urandom(32).hex())
    build()
    processes = [start(node, data) for node in range(1, NODES + 1)]
    try:
        for process in processes:
            assert process.stdout.readline().startswith("READY scheduler "), "expected READY"
        until(lambda: leader(range(1, NODES + 1)) is not None, "a leader")
        acknowledged, answers, over = {}, collections.Counter(), threading.Event()

        def load(number):
            count = 0
            while not over.is_set():
                count += 1
                key, node = f"{number}-{count}", random.randint(1, NODES)
                program = {"program": "echo $JOB_ID $ATTEMPT", "interpreter": "sh"}
                side = "cut off" if node in CUT_OFF else "majority"
                try:
                    status, answer = ask(node, "POST", "/api/v1/jobs", program, key, timeout=6)
                except (OSError, ValueError):
                    status, answer = "no answer", None
                answers[f"{phase[0]}, {side}: {status}"] += 1
                if status == 201:
                    acknowledged[answer["id"]] = key
                time.sleep(0.02)

        phase = ["before"]
        threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(2)
        phase[0] = "cut"
        first = leader(range(1, NODES + 1))
        for node in CUT_OFF:
            run("ip", "link", "set", f"out{node}", "down")
        began = time.monotonic()
        until(lambda: leader([3, 4, 5]) not in (None, *CUT_OFF), "a leader of the majority")
        print(f"the leader was node {first}; the majority has one {time.monotonic() - began:.1f} s after the cut")
        time.sleep(CUT_SECONDS / 2)
        refused = within(CUT_OFF[0], "/api/v1/jobs", {"program": "x"}, "refused")
        assert refused[0] == 503 and "majority" in refused[1], refused
        print(f"a node that is cut off says {refused[0]}: {refused[1]}")
        time.sleep(CUT_SECONDS / 2)
        for node in CUT_OFF:
            run("ip", "link", "set", f"out{node}", "up")
        phase[0] = "after"
        until(lambda: ask(CUT_OFF[0], "POST", "/api/v1/jobs", {"program": "x"}, "healed")[0] == 201, "healed")
        time.sleep(2)
        over.set()
        for thread in threads:
            thread.join()
        for line in sorted(answers):
            print(f"  {line}: {answers[line]}")
        assert answers["cut, majority: 201"] > 0, answers
        judge(acknowledged)
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(timeout=20)
        for node in range(1, NODES + 1):
            run("ip", "netns", "del", name(node))
        shutil.rmtree(data, ignore_errors=True)


def judge(acknowledged):
    """Each has one end, made by its last attempt, and every node says so."""
    for job in acknowledged:
        until(lambda: ask(3, "GET", f"/api/v1/jobs/{job}")[1]["state"] in ENDS, f"the end of {job}")
        seen = [ask(node, "GET", f"/api/v1/jobs/{job}")[1] for node in range(1, NODES + 1)]
        assert all(each == seen[0] for each in seen), seen
        ends = [event["what"] for event in seen[0]["history"] if event["what"] in ENDS]
        assert ends == ["finished"], seen[0]
        assert seen[0]["result"]["stdout"].split() == [job, str(seen[0]["attempt"])], seen[0]
    print(f"scheduler_namespaces: {len(acknowledged)} acknowledged jobs, each with one end")


if os.environ.get("RINGWISE_UNSHARED") != "1":
    assert os.geteuid() == 0 and shutil.which("ip"), "needs root and ip: apt-get install iproute2"
    os.environ["RINGWISE_UNSHARED"] = "1"
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
main()
