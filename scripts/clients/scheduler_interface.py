"""The scheduler's interfaces, as the contract has them: JSON, pages, logs, /stop, the command line."""

import json
import re
import subprocess
import sys
import tempfile
import threading
import urllib.parse

from _balancer import until
from _scheduler import Scheduler, address, attempt_is, outcome


def jobs(scheduler):
    status, answer = scheduler.json("POST", "/api/v1/jobs", {"program": "print(6 * 7)"}, key="forty-two")
    assert status == 201 and answer["state"] == "accepted", (status, answer)
    job = scheduler.wait(answer["id"])
    assert outcome(job) == ("finished", "42\n") and job["result"]["exit"] == 0, job
    attempt_is(job, 1)
    whats = [event["what"] for event in job["history"] if event["what"] != "expired"]
    assert job["worker"] and whats == ["accepted", *["assigned", "running"] * job["attempt"], "finished"], whats
    assert all({"index", "what", "at", "why"} <= set(event) for event in job["history"])
    indexes = [event["index"] for event in job["history"]]
    assert indexes == sorted(indexes), indexes
    assert "scores" in job["history"][1]["why"], job["history"][1]

    # The same key at any node is the same job; another job under it is refused.
    for at in scheduler.nodes + [scheduler.log, scheduler.client]:
        status, again = scheduler.json("POST", "/api/v1/jobs", {"program": "print(6 * 7)"}, key="forty-two", at=at)
        assert (status, again["id"]) == (201, answer["id"]), (at, status, again)
        assert scheduler.job(answer["id"], at=at)["result"]["stdout"] == "42\n"
    status, refused = scheduler.json("POST", "/api/v1/jobs", {"program": "print(7)"}, key="forty-two")
    assert status == 422 and "error" in refused, (status, refused)
    status, refused = scheduler.json("POST", "/api/v1/jobs", {"program": "print(7)"}, key="k" * 257)
    assert (status, refused["error"]) == (400, "an Idempotency-Key has 1 to 256 bytes"), (status, refused)

    check = [
        ("import sys; print(sys.stdin.read().upper(), sys.argv[1:])", {"stdin": "abc", "args": ["x", "y z"]}, "ABC ['x', 'y z']\n"),
        ("import os; print(os.environ['COLOUR'], len(os.environ['JOB_ID']), os.environ['ATTEMPT'])", {"env": {"COLOUR": "red"}}, "red 16 1\n"),
        ("echo $1; cat", {"interpreter": "sh", "args": ["one"], "stdin": "two"}, "one\ntwo"),
        ("whatever it says", {"interpreter": "cat"}, "whatever it says"),
        ("BEGIN { print 1 + 1 }", {"interpreter": "awk -f"}, "2\n"),
        ("print('ü' * 3)", {}, "üüü\n"),
    ]
    for program, more, expected in check:
        job = scheduler.wait(scheduler.send(program, **more))
        assert outcome(job) == ("finished", expected), job

    job = scheduler.wait(scheduler.send("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)"))
    assert job["state"] == "failed" and job["result"]["exit"] == 3, job
    assert (job["result"]["stdout"], job["result"]["stderr"]) == ("out\n", "err\n")
    job = scheduler.wait(scheduler.send("x", interpreter="no-such-interpreter"))
    assert job["state"] == "failed" and job["result"]["exit"] == 127, job
    job = scheduler.wait(scheduler.send("import time; time.sleep(60)", timeout_s=1))
    assert job["state"] == "failed" and "time limit" in job["result"]["why"], job
    job = scheduler.wait(scheduler.send("x = 'a' * (2 << 30); print(len(x))", memory_mb=64))
    assert job["state"] == "failed" and "MemoryError" in job["result"]["stderr"], job
    job = scheduler.wait(scheduler.send("print('a' * 100_000 + 'b' * 100_000)"))
    result = job["result"]
    assert result["stdout"].startswith("a" * 65536) and result["stdout"].endswith("b\n"), "head and tail"
    assert result["stdout_left_out"] == 200_001 - 2 * 65536, result["stdout_left_out"]


def outputs(scheduler):
    """A result has all that its program printed, however soon it ended after that."""
    printed = "".join(chr(97 + at % 26) for at in range(120_000))
    program = "import string; print((string.ascii_lowercase * 5000)[:120_000], end='')"
    jobs = [scheduler.send(program, cpu=0.1, key=f"whole-{number}") for number in range(40)]
    for job in jobs:
        result = scheduler.wait(job)["result"]
        assert result["stdout"] == printed and result["note"] is None, (len(result["stdout"]), result["note"])

    # Whoever leaves its group holds the pipe; the result does not wait for its end, and says so.
    program = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True); print('all of it')"
    job = scheduler.wait(scheduler.send(program))
    assert outcome(job) == ("finished", "all of it\n"), job
    assert "held its output open" in job["result"]["note"], job
    assert "held its output open" in job["history"][-1]["why"], job


def refusals(scheduler):
    check = [
        (400, "POST", "/api/v1/jobs", "no json"),
        (400, "POST", "/api/v1/jobs", "{}"),
        (400, "POST", "/api/v1/jobs", json.dumps({"program": "x", "cpu": 0})),
        (400, "POST", "/api/v1/jobs", json.dumps({"program": "x" * 200_000})),
        (413, "POST", "/api/v1/jobs", " " * (2 << 20)),
        (404, "GET", "/api/v1/jobs/0123456789abcdef", None),
        (404, "GET", "/api/v1/jobs/nonsense", None),
        (404, "POST", "/api/v1/jobs/0123456789abcdef/cancel", None),
        (404, "POST", "/api/v1/jobs/0123456789abcdef/retry", None),
        (405, "DELETE", "/api/v1/jobs", None),
        (400, "GET", "/api/v1/jobs?limit=many", None),
        (400, "GET", "/api/v1/jobs?state=odd", None),
        (404, "GET", "/api/v1/nothing", None),
    ]
    for expected, method, path, body in check:
        for at in [scheduler.client, scheduler.nodes[0]]:
            status, text = scheduler.ask(method, path, body, at=at)
            assert status == expected, (at, method, path, status, text)
            assert json.loads(text)["error"], text


def changes(scheduler):
    job = scheduler.send("import time; time.sleep(60)")
    scheduler.wait(job, "running")
    status, answer = scheduler.json("POST", f"/api/v1/jobs/{job}/cancel")
    assert status == 200 and answer["state"] == "cancelled", (status, answer)
    status, _ = scheduler.json("GET", f"/api/v1/jobs/{job}/result")
    assert status == 409, status
    status, answer = scheduler.json("POST", f"/api/v1/jobs/{job}/retry")
    assert status == 200 and answer["state"] == "accepted", (status, answer)
    again = scheduler.wait(job, "running")
    attempt_is(again, 2)
    status, answer = scheduler.json("GET", f"/api/v1/jobs/{job}/result")
    assert status == 202 and answer["state"] == "running", (status, answer)
    scheduler.json("POST", f"/api/v1/jobs/{job}/cancel")
    status, answer = scheduler.json("GET", "/api/v1/jobs?state=cancelled")
    assert status == 200 and [each["id"] for each in answer["jobs"]] == [job], answer
    done = scheduler.send("print(1)")
    scheduler.wait(done)
    status, _ = scheduler.json("POST", f"/api/v1/jobs/{done}/retry")
    assert status == 409, status
    status, _ = scheduler.json("POST", f"/api/v1/jobs/{done}/cancel")
    assert status == 409, status
    status, result = scheduler.json("GET", f"/api/v1/jobs/{done}/result")
    assert (status, result["stdout"]) == (200, "1\n"), (status, result)


def nodes(scheduler):
    for at in scheduler.nodes + [scheduler.log, scheduler.client]:
        found = scheduler.all_nodes(at)
        assert len(found) == scheduler.workers + 2, found
        roles = sorted(node["role"] for node in found)
        assert roles == ["leader", "log"] + ["worker"] * scheduler.workers, roles
        assert len({node["pid"] for node in found}) == len(found), "every node is a process of its own"
        for node in found:
            assert {"id", "address", "role", "state", "pid", "cpu", "memory"} <= set(node), node
            assert node["state"] == "alive", node
        status, text = scheduler.ask("GET", "/healthz", at=at)
        assert status == 200, text
        status, text = scheduler.ask("GET", "/metrics", at=at)
        assert status == 200 and "# TYPE" in text, text[:200]
    addresses = {address(node["address"]) for node in scheduler.all_nodes()}
    assert addresses == set(scheduler.nodes) | {scheduler.log}


def pages(scheduler):
    status, text = scheduler.ask("GET", "/")
    assert status == 200 and "Create a payload!" in text, text[:300]
    assert 'name="generate_payload"' in text and 'name="send_payload"' in text
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _ = scheduler.ask("POST", "/", urllib.parse.urlencode({"generate_payload": ""}), form)
    assert status == 303, status
    status, text = scheduler.ask("GET", "/")
    program = re.search(r"time\.sleep\((\d+)\)\s+print\((\d+) \+ (\d+)\)", text)
    assert program and 10 <= int(program[1]) <= 60, text
    created = re.search(r"Payload <code>(\w+)</code>", text)[1]
    status, _ = scheduler.ask("POST", "/", urllib.parse.urlencode({"send_payload": ""}), form)
    assert status == 303, status
    until(lambda: created in scheduler.ask("GET", "/")[1], "the payload in the table")
    status, text = scheduler.ask("GET", "/")
    row = re.search(rf'<tr data-id="{created}".*?</tr>', text, re.DOTALL)[0]
    assert "executing" in row and "time.sleep" in row, row
    until(lambda: scheduler.job(created)["state"] == "running", "the payload runs")
    lines = "\n".join(scheduler.lines)
    assert f"client,Created payload: {created}" in lines, lines
    assert f"client,Sent payload: {created} for execution to port: " in lines, lines
    scheduler.json("POST", f"/api/v1/jobs/{created}/cancel")
    status, text = scheduler.ask("GET", "/", at=scheduler.nodes[0])
    assert status == 200 and created in text, text[:300]
    return created


def logs(scheduler, created):
    job = scheduler.send("print(1)")
    result = scheduler.wait(job)
    leader = scheduler.leader()
    worker = scheduler.node(result["worker"])
    port = lambda node: node["address"].rsplit(":", 1)[1]
    expected = [
        f"{leader['id']},Is master container",
        f"{leader['id']},Sent payload: {job} for execution to port: {port(worker)}",
        f"{worker['id']},Received payload: {job}",
        f"{worker['id']},Sent result: {job} for leader to port: {port(leader)}",
        f"{leader['id']},Received result: {job}",
    ]
    for line in expected:
        until(lambda: line in scheduler.lines, f"{line!r} on the terminal")
    assert any(re.fullmatch(rf"{worker['id']},The CPU usage is: [\d.]+", line) for line in scheduler.lines)
    assert any(re.fullmatch(rf"{worker['id']},RAM memory /%/ used: [\d.]+", line) for line in scheduler.lines)
    until(lambda: any(re.fullmatch(rf"[\w-]+,Sent result: {job} for client to port: \d+", line) for line in scheduler.lines), "to the client")
    status, text = scheduler.ask("GET", "/logging", at=scheduler.log)
    assert status == 200
    line = rf"<Log \d+, Container {worker['id']}: Received payload: {job}>"
    assert re.search(line, text), text[-2000:]
    numbers = [int(number) for number in re.findall(r"<Log (\d+), Container", text)]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), numbers
    for at in [scheduler.client, scheduler.nodes[0]]:
        status, text = scheduler.ask("GET", "/logging", headers={"Accept": "text/html"}, at=at)
        assert status == 200 and "<pre id=\"log\">" in text, text[:300]
    status, text = scheduler.ask("GET", "/logging", at=scheduler.client)
    assert f"Created payload: {created}" in text, text


def live(scheduler):
    """A line comes to who listens, when it is said."""
    import http.client

    heard = []

    def listen(at, accept):
        connection = http.client.HTTPConnection(*at, timeout=30)
        connection.request("GET", "/logging", headers={"Accept": accept})
        answer = connection.getresponse()
        assert answer.status == 200 and answer.getheader("Content-Type") == "text/event-stream", answer.status
        for line in answer:
            heard.append(line.decode())
            if "Received result: " + job in heard[-1]:
                return

    job = "none yet"
    listener = threading.Thread(target=listen, args=(scheduler.log, "text/event-stream"), daemon=True)
    listener.start()
    until(lambda: heard, "the log begins")
    job = scheduler.send("print(2)")
    listener.join(timeout=30)
    assert not listener.is_alive(), heard[-5:]


def stop(scheduler):
    leader = scheduler.leader()
    at = address(leader["address"])
    assert scheduler.ask("HEAD", "/stop", at=at) == (405, "")
    assert scheduler.ask("GET", "/healthz", at=at) == (200, "ok\n"), "HEAD stops nobody"
    job = scheduler.send("import time; time.sleep(3); print('once')")
    scheduler.wait(job, "running")
    assert scheduler.ask("GET", "/stop", at=at) == (200, "True")
    for path in ["/", "/logging", "/api/v1/nodes", "/api/v1/jobs", "/metrics", "/healthz", "/nothing"]:
        status, text = scheduler.ask("GET", path, at=at)
        assert (status, text) == (418, "I am simulating a crash, please do not bother me"), (path, status, text)
    until(lambda: scheduler.leader()["id"] != leader["id"], "another leader")
    assert outcome(scheduler.wait(job)) == ("finished", "once\n")
    attempt_is(scheduler.job(job), 1)
    assert scheduler.ask("GET", "/stop", at=at) == (200, "False")
    until(lambda: f"{leader['id']},has recovered" in scheduler.lines, "has recovered")
    assert any(line.endswith(",Leader has crashed") for line in scheduler.lines)
    scheduler.settled()

    job = scheduler.send("import time; time.sleep(2); print('moved')")
    first = scheduler.wait(job, "running")["worker"]
    at = address(scheduler.node(first)["address"])
    assert scheduler.ask("GET", "/stop", at=at) == (200, "True")
    moved = scheduler.wait(job)
    assert outcome(moved) == ("finished", "moved\n"), moved
    attempt_is(moved, 2)
    assert moved["worker"] != first or moved["attempt"] > 2, moved
    assert any(",Worker has crashed" in line for line in scheduler.lines)
    assert scheduler.ask("GET", "/stop", at=at) == (200, "False")
    scheduler.settled()

    assert scheduler.ask("GET", "/stop", at=scheduler.log) == (200, "True")
    server = ":".join(map(str, scheduler.client))
    done = subprocess.run([sys.argv[1], "logs", "--server", server], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "418: I am simulating a crash" in done.stderr, done
    assert scheduler.ask("GET", "/stop", at=scheduler.log) == (200, "False")
    scheduler.settled()


def command_line(scheduler):
    server = ["--server", ":".join(map(str, scheduler.client))]

    def run(*words, stdin=None, status=0):
        done = subprocess.run([sys.argv[1], *words], input=stdin, capture_output=True, text=True, timeout=60)
        assert done.returncode == status, (words, done.returncode, done.stdout, done.stderr)
        return done.stdout

    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write("import sys; print('hello', *sys.argv[1:])\n")
        file.flush()
        job = run("submit", *server, file.name, "you").strip()
        assert run("result", *server, "--wait", job) == "hello you\n"
        assert run("submit", *server, "--wait", file.name) == "hello\n"
    assert run("submit", *server, "--wait", "--interpreter", "sh", "-", stdin="echo $0") == "sh\n"
    run("submit", *server, "--wait", "-", stdin="raise SystemExit(5)", status=5)
    assert job in run("list", *server) and "finished" in run("list", *server)
    assert json.loads(run("show", *server, job))["state"] == "finished"
    assert "leader" in run("nodes", *server)
    assert "Received payload: " + job in run("logs", *server)
    run("result", *server, "0123456789abcdef", status=1)
    for word in ("show", "result", "cancel", "retry"):
        run(word, *server, "", status=2)
        run(word, *server, "?limit=1", status=1)
    for state in ("a b", "dead&limit=x"):
        run("list", *server, "--state", state, status=1)
    run("submit", *server, "--key", "a\r\nX-Y: z", "-", stdin="print(1)", status=2)
    with tempfile.NamedTemporaryFile() as stays:
        program = f"import os, time; time.sleep(60 * os.path.exists({stays.name!r})); print('at last')"
        waits = run("submit", *server, "-", stdin=program).strip()
        scheduler.wait(waits, "running")
        assert run("cancel", *server, "--wait", waits) == f"{waits} cancelled\n"
    assert run("retry", *server, "--wait", waits) == "at last\n"
    run("frobnicate", status=2)
    run("list", "--server", "127.0.0.1:1", status=3)
    assert "submit" in run("--help")
    follow = subprocess.Popen([sys.argv[1], "logs", "--follow", *server], stdout=subprocess.PIPE, text=True)
    try:
        follow.stdout.readline()
        job = scheduler.send("print(3)")
        for line in follow.stdout:
            if f"Received result: {job}" in line:
                break
        else:
            raise AssertionError("the log ended")
    finally:
        follow.kill()
        follow.wait()


def twice(scheduler):
    """Data that another keeps is no reason to try for ever."""
    words = [sys.argv[1], "up", "--workers", str(scheduler.workers), "--port", "0", "--data", scheduler.data]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 5, (done.returncode, done.stdout, done.stderr)
    assert "another process keeps its data there" in done.stderr, done.stderr
    assert "cannot be started" in done.stderr and "READY" not in done.stdout, (done.stdout, done.stderr)


with Scheduler() as scheduler:
    scheduler.settled()
    twice(scheduler)
    jobs(scheduler)
    outputs(scheduler)
    refusals(scheduler)
    changes(scheduler)
    nodes(scheduler)
    created = pages(scheduler)
    logs(scheduler, created)
    live(scheduler)
    command_line(scheduler)
    stop(scheduler)
print("scheduler_interface: all held")
