"""Python's requests: sessions, JSON, uploads, long polls and streams of events."""

import concurrent.futures
import json
import re
import sys

import requests

from _server import Server, run
from _stand import Stand

WAIT_SECONDS_MAX = 30


def get(session, address, **more):
    return session.get(address, timeout=WAIT_SECONDS_MAX, **more)


def test_a_session_keeps_its_connection():
    with Stand() as stand, requests.Session() as session:
        for number in range(200):
            assert get(session, f"{stand.page}/items/{number}%20%c3%a4").text == f"item {number} ä"
        answer = get(session, f"{stand.page}/metrics")
        accepted = re.findall(r'web_accepted_total\{core="\d+"\} (\d+)', answer.text)
        assert sum(map(int, accepted)) == 1, accepted


def test_json_in_and_out():
    with Stand() as stand, requests.Session() as session:
        answer = session.post(f"{stand.page}/json", json={"a": 1, "b": 41}, timeout=WAIT_SECONDS_MAX)
        assert (answer.status_code, answer.json()) == (200, 42)
        assert answer.headers["Content-Type"] == "application/json"
        answer = session.post(f"{stand.page}/json", data="{", timeout=WAIT_SECONDS_MAX)
        assert answer.status_code == 422 and "line 1 column 1" in answer.text


def test_an_upload_of_unknown_length():
    with Stand() as stand:
        parts = (b"y" * 1000 for _ in range(500))
        answer = requests.put(f"{stand.page}/parts", data=parts, timeout=WAIT_SECONDS_MAX)
        assert answer.text == "500000 bytes"


def test_long_polls_of_many_wait_beside_each_other():
    with Stand() as stand, concurrent.futures.ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(requests.get, f"{stand.page}/later?ms=300", timeout=WAIT_SECONDS_MAX) for _ in range(50)]
        assert [answer.result().text for answer in asked] == ["at last"] * 50


def events(answer):
    """Events of a stream as (kind, data)."""
    kind, data = "message", []
    for line in answer.iter_lines(decode_unicode=True):
        if line == "" and data:
            yield kind, "\n".join(data)
            kind, data = "message", []
        elif line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            data.append(line.removeprefix("data: "))


def test_events_reach_every_listener():
    with Stand() as stand:
        listeners = [requests.get(f"{stand.page}/events", stream=True, timeout=WAIT_SECONDS_MAX) for _ in range(10)]
        assert all(each.headers["Content-Type"] == "text/event-stream" for each in listeners)
        text = "one line\nand another"
        assert requests.post(f"{stand.page}/publish", data=text, timeout=WAIT_SECONDS_MAX).status_code == 204
        assert [next(events(each)) for each in listeners] == [("said", text)] * 10
        for each in listeners:
            each.close()


def test_live_values_of_the_table():
    with Server() as server:
        answer = requests.get(f"http://{server.keys['metrics']}/live", stream=True, timeout=WAIT_SECONDS_MAX)
        stream = events(answer)
        first, second = (json.loads(next(stream)[1]) for _ in range(2))
        assert second["at_ms"] - first["at_ms"] >= 450, "at most two updates a second"
        assert sum(core["slots"] for core in second["cores"]) == 16384
        answer.close()


if __name__ == "__main__":
    run(sys.modules[__name__])
