"""The REST face of faas, row by row, by Python's requests and dill; its workers are the tests' own."""

import concurrent.futures
import json
import os
import subprocess
import sys
import time
import uuid

import dill
import requests

from _faas import WAIT_SECONDS_MAX, Faas, eventually, pickled, scratch, sum_of, unpickled
from _server import run

MISSING = "00000000-0000-4000-8000-000000000000"


def double(x):
    return 2 * x


def adder(n):
    return lambda x: x + n


def fails(words):
    raise ValueError(words)


def sleeps(seconds):
    time.sleep(seconds)
    return seconds


def uuid4(text):
    assert str(uuid.UUID(text)) == text and uuid.UUID(text).version == 4, text
    return text


def test_a_task_goes_its_way():
    for mode in ("push", "pull"):
        with Faas(mode=mode) as faas:
            faas.worker()
            answer = faas.post("/register_function", json={"name": "double", "payload": pickled(double)})
            assert answer.status_code == 201 and list(answer.json()) == ["function_id"]
            function = uuid4(answer.json()["function_id"])
            body = {"function_id": function, "payload": "gASVCQAAAAAAAABLAoWUfZSGlC4="}
            answer = faas.post("/execute_function", json=body)
            assert answer.status_code == 201 and list(answer.json()) == ["task_id"]
            task = uuid4(answer.json()["task_id"])
            assert faas.result(task) == ("COMPLETED", 4)
            status = faas.get(f"/status/{task}").json()
            assert status["task_id"] == task and status["status"] == "COMPLETED" and status["attempts"] == 1
            assert set(status["breakdown"]) == {"queued", "dispatched", "started", "run", "stored"}, status
            answer = faas.get(f"/result/{task}")
            assert answer.status_code == 200 and set(answer.json()) == {"task_id", "status", "result"}
            assert faas.call(faas.register(adder(40), lines=True), 2) == ("COMPLETED", 42)
            state, raised = faas.call(faas.register(fails), "no such colour")
            assert state == "FAILED" and isinstance(raised, ValueError) and raised.args == ("no such colour",)


def test_states_while_it_waits_and_runs():
    with Faas() as faas:
        function = faas.register(sleeps)
        task = faas.execute(function, 0.5)
        body = faas.get(f"/result/{task}").json()
        assert body == {"task_id": task, "status": "QUEUED", "result": ""}, body
        assert faas.get(f"/status/{task}").json()["status"] == "QUEUED"
        faas.worker()
        eventually(lambda: faas.get(f"/status/{task}").json()["status"] == "RUNNING")
        assert faas.get(f"/result/{task}").json()["result"] == ""
        assert faas.result(task) == ("COMPLETED", 0.5)


def refused(answer, status, *details):
    assert answer.status_code == status, (answer.status_code, answer.text)
    detail = answer.json()["detail"]
    if not details:
        assert isinstance(detail, str) and detail, detail
        return
    found = [(tuple(each["loc"]), each["msg"], each["type"]) for each in detail]
    assert found == list(details), found


def test_what_is_wrong_is_told():
    required = ("field required", "value_error.missing")
    with Faas() as faas:
        good = faas.register(double)
        for path in ("/status/", "/result/"):
            refused(faas.get(path + MISSING), 404)
            refused(faas.get(path + "seven"), 422, (("path", "task_id"), "value is not a valid uuid", "type_error.uuid"))
        refused(faas.post("/execute_function", json={"function_id": MISSING, "payload": ""}), 404)
        refused(faas.post("/register_function", json={"name": "f"}), 422, (("body", "payload"), *required))
        refused(
            faas.post("/register_function", json={}),
            422,
            (("body", "name"), *required),
            (("body", "payload"), *required),
        )
        refused(faas.post("/register_function"), 422, (("body",), *required))
        refused(
            faas.post("/register_function", json={"name": "f", "payload": 7}),
            422,
            (("body", "payload"), "str type expected", "type_error.str"),
        )
        refused(
            faas.post("/execute_function", json={"function_id": "x", "payload": None}),
            422,
            (("body", "function_id"), "value is not a valid uuid", "type_error.uuid"),
            (("body", "payload"), "none is not an allowed value", "type_error.none.not_allowed"),
        )
        answer = faas.post("/execute_function", data="{oops", headers={"Content-Type": "application/json"})
        assert answer.status_code == 422 and answer.json()["detail"][0]["type"] == "value_error.jsondecode"
        assert answer.json()["detail"][0]["loc"][0] == "body"
        for runtime, words in (("wasm", "WebAssembly"), ("", "unknown"), ("node", "unknown")):
            answer = faas.post("/register_function", json={"name": "f", "payload": pickled(double), "runtime": runtime})
            refused(answer, 400)
            assert words in answer.json()["detail"], answer.text
        for runtime in ("python", None):
            answer = faas.post("/register_function", json={"name": "f", "payload": pickled(double), "runtime": runtime})
            assert answer.status_code == 201, answer.text
        refused(
            faas.post("/register_function", json={"name": "f", "payload": pickled(double), "runtime": 7}),
            422,
            (("body", "runtime"), "str type expected", "type_error.str"),
        )
        for payload in ("payload", "", "!!!", "gAR9", pickled(5), pickled("text"), "x" * 1000):
            refused(faas.post("/register_function", json={"name": "f", "payload": payload}), 400)
        refused(faas.get(f"/result/{MISSING}?wait=soon"), 422, (("query", "wait"), "value is not a valid float", "type_error.float"))
        refused(faas.get("/nowhere"), 404)
        answer = faas.get("/register_function")
        refused(answer, 405)
        assert "POST" in answer.headers["Allow"].split(", ")
        answer = faas.delete(f"/status/{MISSING}")
        assert answer.status_code == 405 and "GET" in answer.headers["Allow"]
        assert good


def test_a_slash_at_the_end_and_who_we_are():
    with Faas() as faas:
        faas.worker()
        answer = faas.post("/register_function/", json={"name": "f", "payload": pickled(double)})
        assert answer.status_code == 201
        function = answer.json()["function_id"]
        task = faas.post("/execute_function/", json={"function_id": function, "payload": pickled(((1,), {}))}).json()["task_id"]
        assert faas.result(task) == ("COMPLETED", 2)
        assert faas.get(f"/status/{task}/").status_code == 200
        about = faas.get("/").json()
        assert about["name"] == "faas" and about["version"] and about["functions"] == 1
        assert about["tasks"]["accepted"] == 1 and about["workers"] == 1
        assert faas.get("/healthz").text == "ok\n"
        assert 'faas_tasks_ended_total{core="0",how="completed"}' in faas.get("/metrics").text
        assert "<title>faas</title>" in faas.get("/ui").text
        # What says nothing of its body's kind, as curl sends it, is JSON all the same.
        answer = faas.post("/execute_function", data=json.dumps({"function_id": function, "payload": pickled(((1,), {}))}))
        assert answer.status_code == 201


def test_profiles_and_single_wishes():
    with Faas("--profile", "lax") as faas:
        faas.worker()
        answer = faas.post("/register_function", json={"name": "f", "payload": "anything"})
        assert answer.status_code == 200, answer.text
        task = faas.execute(answer.json()["function_id"], 1)
        assert faas.result(task)[0] == "FAILED"
        assert faas.post("/register_function", json={"name": "f"}).status_code == 422
        assert faas.get(f"/status/{MISSING}").status_code == 404
    wishes = ("--created-status", "202", "--unknown-status", "400", "--pending-status", "425")
    with Faas(*wishes, "--completed-word", "COMPLETE", "--failure-as", "string") as faas:
        answer = faas.post("/register_function", json={"name": "f", "payload": pickled(double)})
        assert answer.status_code == 202
        function = answer.json()["function_id"]
        assert faas.get(f"/status/{MISSING}").status_code == 400
        answer = faas.post("/execute_function", json={"function_id": function, "payload": pickled(((4,), {}))})
        assert answer.status_code == 202
        task = answer.json()["task_id"]
        assert faas.get(f"/result/{task}").status_code == 425
        faas.worker()
        body = faas.get(f"/result/{task}?wait=30").json()
        assert body["status"] == "COMPLETE" and unpickled(body["result"]) == 8
        task = faas.post("/execute_function", json={"function_id": function, "payload": pickled(((), {}))}).json()["task_id"]
        body = faas.get(f"/result/{task}?wait=30").json()
        assert body["status"] == "FAILED" and "TypeError" in unpickled(body["result"])


def test_many_at_once_and_much_at_once():
    with Faas() as faas, concurrent.futures.ThreadPoolExecutor(50) as pool:
        for _ in range(3):
            faas.worker(slots=2, window=8)
        function = faas.register(double)
        tasks = list(pool.map(lambda n: (n, faas.execute(function, n)), range(200)))
        assert all(faas.result(task) == ("COMPLETED", 2 * n) for n, task in tasks)
        large = os.urandom(20 * 1024 * 1024)
        task = faas.execute(faas.register(len), large)
        assert faas.result(task) == ("COMPLETED", len(large))
        task = faas.execute(faas.register(bytes), large)
        assert faas.result(task) == ("COMPLETED", large)
        body = json.dumps({"function_id": function, "payload": "A" * (50 * 1024 * 1024)})
        assert faas.post("/execute_function", data=body).status_code == 413


def test_a_batch():
    with Faas() as faas:
        faas.worker(window=64)
        function = faas.register(double)
        calls = [{"function_id": function, "payload": pickled(((n,), {}))} for n in range(1000)]
        answer = faas.post("/execute_functions", json={"tasks": calls})
        assert answer.status_code == 201
        tasks = answer.json()["task_ids"]
        assert len(set(map(uuid4, tasks))) == 1000
        assert [faas.result(task)[1] for task in tasks] == [2 * n for n in range(1000)]
        answer = faas.post("/execute_functions", json={"tasks": [calls[0], {"function_id": MISSING, "payload": ""}]})
        refused(answer, 404)
        refused(
            faas.post("/execute_functions", json={"tasks": [{"payload": ""}]}),
            422,
            (("body", "tasks", 0, "function_id"), "field required", "value_error.missing"),
        )


def test_an_idempotency_key_is_one_task():
    with Faas() as faas, concurrent.futures.ThreadPoolExecutor(20) as pool:
        worker = faas.worker()
        function = faas.register(double)
        key = {"Idempotency-Key": "order 7"}
        tasks = set(pool.map(lambda _: faas.execute(function, 21, headers=key), range(50)))
        assert len(tasks) == 1
        assert faas.result(tasks.pop()) == ("COMPLETED", 42) and len(worker.ran) == 1
        assert faas.execute(function, 21, headers={"Idempotency-Key": "order 8"})


def test_a_key_waits_as_no_key_does():
    with Faas() as faas, concurrent.futures.ThreadPoolExecutor(10) as pool:
        function = faas.register(double)
        body = {"function_id": function, "payload": pickled(((21,), {}))}

        def ask(wait, key):
            return faas.post(f"/execute_function?wait={wait}", json=body, headers={"Idempotency-Key": key})

        refused(ask("soon", "order 0"), 422, (("query", "wait"), "value is not a valid float", "type_error.float"))
        assert sum_of(faas, "faas_tasks_accepted_total") == 0
        began = time.monotonic()
        answer = ask(0.3, "order 0")
        assert answer.json()["status"] == "QUEUED" and time.monotonic() - began >= 0.3, answer.text
        # Several keys, so that with several cores some are another core's; the first is of a task that exists.
        asked = [pool.submit(ask, 30, f"order {n}") for n in range(10)]
        eventually(lambda: sum_of(faas, "faas_waiting") == 10)
        faas.worker()
        told = [answer.result() for answer in asked]
        assert all(answer.status_code == 200 and unpickled(answer.json()["result"]) == 42 for answer in told)
        again = ask(30, "order 0").json()
        assert again == told[0].json() and again["task_id"] == answer.json()["task_id"], again
        assert len(faas.workers[0].ran) == 10


def test_long_polls():
    with Faas() as faas:
        function = faas.register(sleeps)
        task = faas.execute(function, 0)
        began = time.monotonic()
        body = faas.get(f"/result/{task}?wait=0.3").json()
        assert body["status"] == "QUEUED" and time.monotonic() - began >= 0.3
        with concurrent.futures.ThreadPoolExecutor(50) as pool:
            asked = [
                pool.submit(requests.get, f"{faas.base}/result/{task}?wait=30", timeout=WAIT_SECONDS_MAX) for _ in range(50)
            ]
            eventually(lambda: sum_of(faas, "faas_waiting") == 50)
            faas.worker()
            assert all(answer.result().json()["status"] == "COMPLETED" for answer in asked)


def test_a_task_is_cancelled():
    with Faas() as faas:
        function = faas.register(sleeps)
        waiting = faas.execute(function, 9)
        assert faas.delete(f"/task/{waiting}").json() == {"task_id": waiting, "status": "FAILED"}
        state, raised = faas.result(waiting)
        assert state == "FAILED" and type(raised).__name__ == "CancelledError", raised
        refused(faas.delete(f"/task/{waiting}"), 409)
        refused(faas.delete(f"/task/{MISSING}"), 404)
        worker = faas.worker(run=lambda *task: None)
        running = faas.execute(function, 9)
        eventually(lambda: faas.get(f"/status/{running}").json()["status"] == "RUNNING")
        assert faas.delete(f"/task/{running}").status_code == 200
        eventually(lambda: worker.cancelled == [(uuid.UUID(running).bytes, 1)])
        assert faas.result(running)[0] == "FAILED"
        worker.report(uuid.UUID(running).bytes, 1, result=b"too late")
        eventually(lambda: worker.acks)
        assert faas.result(running)[0] == "FAILED"


def test_lists():
    with Faas() as faas:
        function = faas.register(sleeps, name='a "name"')
        tasks = [faas.execute(function, 0) for _ in range(5)]
        listed = faas.get("/tasks?state=QUEUED").json()
        assert listed["count"] == 5 and {task["task_id"] for task in listed["tasks"]} == set(tasks)
        assert len(faas.get("/tasks?limit=2").json()["tasks"]) == 2
        assert faas.get("/tasks?state=completed").json() == {"count": 0, "tasks": []}
        assert faas.get("/tasks?state=sideways").status_code == 422
        assert len(faas.get("/tasks?limit=100000000000").json()["tasks"]) == 5
        for limit in ("x", "1.5", "-1", ""):
            whole = (("query", "limit"), "value is not a valid integer", "type_error.integer")
            refused(faas.get(f"/tasks?limit={limit}"), 422, whole)
        assert faas.get("/workers").json() == {"workers": []}
        faas.worker()
        [worker] = faas.get("/workers").json()["workers"]
        assert (worker["slots"], worker["python"], worker["pid"]) == (1, "3.11.0", os.getpid())
        assert faas.get("/functions").json()["functions"][0]["name"] == 'a "name"'
        for task in tasks:
            faas.result(task)
        assert faas.get("/tasks?state=COMPLETED").json()["count"] == 5


def test_lost_workers_cost_attempts_and_then_the_task():
    with Faas("--max-attempts", "2") as faas:
        function = faas.register(double)
        task = faas.execute(function, 1)
        for attempt in (1, 2):
            worker = faas.worker(run=lambda worker, *task: worker.stop())
            eventually(lambda: faas.get(f"/status/{task}").json()["attempts"] == attempt)
            worker.thread.join(10)
        state, raised = faas.result(task)
        assert state == "FAILED" and "2 attempts" in str(raised), raised
        assert faas.get("/tasks?state=DEAD").json()["count"] == 1
        faas.worker()
        assert faas.post(f"/task/{task}/retry").json() == {"task_id": task, "status": "QUEUED"}
        assert faas.result(task) == ("COMPLETED", 2)
        assert faas.workers[-1].ran == [(uuid.UUID(task).bytes, 3)], "no attempt has the number of another"
        refused(faas.post(f"/task/{task}/retry"), 409)


def test_a_silent_worker_is_lost_and_what_it_says_late_does_not_count():
    for mode in ("push", "pull"):
        with Faas("--heartbeat-timeout", "600ms", mode=mode) as faas:
            silent = faas.worker(run=lambda *task: None)
            silent.beats = False
            function = faas.register(double)
            task = faas.execute(function, 21)
            began = time.monotonic()
            faas.worker()
            assert faas.result(task) == ("COMPLETED", 42)
            assert time.monotonic() - began < 30
            assert faas.get(f"/status/{task}").json()["attempts"] == 2


def test_bounds_are_told():
    with Faas("--tasks-max", "4", "--cores", "0") as faas:
        function = faas.register(sleeps)
        for _ in range(4):
            faas.execute(function, 0)
        answer = faas.post("/execute_function", json={"function_id": function, "payload": pickled(((), {}))})
        refused(answer, 429)
        assert answer.headers["Retry-After"] == "1"
    with Faas("--functions-max", "1") as faas:
        faas.register(double)
        assert faas.post("/register_function", json={"name": "f", "payload": pickled(double)}).status_code == 429
    with Faas("--result-ttl", "300ms") as faas:
        faas.worker()
        task = faas.execute(faas.register(double), 1)
        eventually(lambda: faas.get(f"/result/{task}").status_code == 404)


def test_bad_bytes_at_the_workers_door_cost_nobody_else_anything():
    import socket

    with Faas() as faas:
        for bytes_ in (b"GET / HTTP/1.1\r\n\r\n", b"RWFW\x09\x00\x00\x00", b"RWFW\x01\x00\x00\x00" + b"\xff" * 64):
            talk = socket.create_connection(faas.dispatch)
            talk.sendall(bytes_)
            talk.settimeout(10)
            heard = b""
            while True:
                more = talk.recv(4096)
                if not more:
                    break
                heard += more
            assert heard.startswith(b"RWFW")
            talk.close()
        faas.worker()
        assert faas.call(faas.register(double), 1) == ("COMPLETED", 2)


def test_curl_does_it_too():
    with Faas() as faas:
        faas.worker()

        def curl(*words):
            return json.loads(subprocess.run(["curl", "-sS", *words], check=True, capture_output=True, text=True).stdout)

        body = json.dumps({"name": "double", "payload": pickled(double)})
        function = curl(f"{faas.base}/register_function", "-d", body)["function_id"]
        body = json.dumps({"function_id": function, "payload": pickled(((2,), {}))})
        task = curl(f"{faas.base}/execute_function", "-H", "Content-Type: application/json", "-d", body)["task_id"]
        assert unpickled(curl(f"{faas.base}/result/{task}?wait=30")["result"]) == 4


def test_what_is_kept_outlives_a_kill():
    with scratch() as folder:
        faas = Faas(store=f"log:{folder}").start()
        function = faas.register(double)
        faas.worker()
        done = faas.execute(function, 1, headers={"Idempotency-Key": "one"})
        assert faas.result(done) == ("COMPLETED", 2)
        faas.workers.pop().stop()
        waiting = [faas.execute(function, n) for n in range(50)]
        faas.kill()
        with Faas(store=f"log:{folder}") as again:
            assert again.result(done) == ("COMPLETED", 2)
            assert again.get(f"/status/{waiting[0]}").json()["status"] == "QUEUED"
            assert again.execute(function, 1, headers={"Idempotency-Key": "one"}) == done
            again.worker()
            assert [again.result(task)[1] for task in waiting] == [2 * n for n in range(50)]


def test_an_attempt_that_a_kill_ended_is_not_taken_for_the_next():
    with scratch() as folder:
        faas = Faas(store=f"log:{folder}").start()
        task, given = faas.execute(faas.register(double), 1), []
        before = faas.worker(run=lambda worker, *task: given.append(task[:2]))
        eventually(lambda: given)
        faas.kill()
        with Faas(store=f"log:{folder}") as again:
            after = again.worker(run=lambda worker, *task: given.append(task[:2]))
            eventually(lambda: len(given) == 2)
            assert given == [(uuid.UUID(task).bytes, 1), (uuid.UUID(task).bytes, 2)], given
            ours, after.session = after.session, before.session
            after.report(*given[1], result=b"of a session that is over")
            eventually(lambda: after.acks)
            assert again.get(f"/status/{task}").json()["status"] == "RUNNING"
            after.session = ours
            after.report(*given[0], result=b"of an attempt that is over")
            eventually(lambda: len(after.acks) == 2)
            assert again.get(f"/status/{task}").json()["status"] == "RUNNING"
            after.report(*given[1], result=dill.dumps(2))
            assert again.result(task) == ("COMPLETED", 2)


if __name__ == "__main__":
    run(sys.modules[__name__])
