"""What a replica must never bear and a client must never wait for: bounds, waits, ejection, retries, and who may change
what. Each by a real balancer, with replicas of the script's own where they must misbehave.
"""

import contextlib
import http.client
import json
import socket
import sys
import threading
import time

import _server
from _balancer import Balancer, say, until
from balancer_bodies import Origin

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Counted:
    """A replica that answers when it is told to, and counts what it has in hand."""

    def __init__(self, answer=OK, wait=0.0):
        self.lock, self.in_hand, self.most, self.got, self.conns = threading.Lock(), 0, 0, 0, 0
        self.gate, self.answer, self.wait = threading.Event(), answer, wait
        self.origin = Origin(self.serve)
        self.at = self.origin.at

    def serve(self, conn, head, rest):
        with self.lock:
            self.conns += 1
        while True:
            with self.lock:
                self.in_hand += 1
                self.got += 1
                self.most = max(self.most, self.in_hand)
            if self.wait:
                self.gate.wait(self.wait)
            with self.lock:
                self.in_hand -= 1
            conn.sendall(self.answer)
            heard = b""
            while b"\r\n\r\n" not in heard:
                try:
                    part = conn.recv(65536)
                except ConnectionResetError:
                    return
                if not part:
                    return
                heard += part


def static(*replicas):
    """Options for replicas that somebody else runs."""
    options = ["--driver", "static", "--replicas", str(len(replicas)), "--slow-start", "0s"]
    for each in replicas:
        options += ["--replica-address", each if isinstance(each, str) else each.at]
    return options


def at_once(balancer, count, path="/x"):
    """So many requests at the same time: their statuses and headers."""
    answers = []

    def ask():
        connection = http.client.HTTPConnection(*balancer.http, timeout=30)
        connection.request("GET", path)
        answer = connection.getresponse()
        answers.append((answer.status, dict(answer.getheaders()), answer.read()))
        connection.close()

    asking = [threading.Thread(target=ask) for _ in range(count)]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    return answers


def test_a_replica_never_has_more_in_flight_than_it_may_and_the_rest_wait():
    replica = Counted(wait=0.05)
    with Balancer(*static(replica), "--replica-max", "4", "--load-factor", "0") as balancer:
        balancer.settled(1)
        answers = at_once(balancer, 40)
        assert [each[0] for each in answers] == [200] * 40
        assert replica.most <= 4, replica.most
        assert replica.conns <= 4 * 2, f"{replica.conns} connections: they are bounded too"


def test_who_waits_too_long_in_the_queue_is_told_when_to_come_again():
    replica = Counted(wait=5)
    with Balancer(*static(replica), "--replica-max", "2", "--queue-timeout", "300ms") as balancer:
        balancer.settled(1)
        begun = time.monotonic()
        answers = []
        asking = threading.Thread(target=lambda: answers.extend(at_once(balancer, 6)))
        asking.start()
        time.sleep(1)
        replica.gate.set()
        asking.join()
        refused = [each for each in answers if each[0] == 503]
        assert len(refused) == 4 and time.monotonic() - begun < 5, [each[0] for each in answers]
        status, headers, body = refused[0]
        assert headers["Retry-After"].isdigit(), headers
        assert json.loads(body)["status"] == "failure" and json.loads(body)["message"].startswith("<Error> "), body


def test_a_replica_that_refuses_connections_is_out_for_a_while_that_grows_and_costs_nobody_a_request():
    good = Counted()
    gone = socket.create_server(("127.0.0.1", 0))
    answers_beats = Origin(lambda conn, head, rest: conn.close())
    gone.close()
    with Balancer(*static(good, answers_beats), "--eject-after", "3", "--eject-time", "1s", "--cores", "0") as balancer:
        balancer.settled(2)
        for _ in range(200):
            assert balancer.ask("GET", "/x")[0] == 200, "it is tried on the other"
        assert balancer.metric("balancer_retries_total") > 0


def test_answers_of_500_eject_when_asked_to_but_never_more_than_half():
    bad = b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"
    replicas = [Counted(bad), Counted(bad), Counted(), Counted()]
    with Balancer(*static(*replicas), "--eject-after-5xx", "3", "--eject-time", "60s", "--cores", "0", "--ring", "p2c") as balancer:
        balancer.settled(4)
        statuses = [balancer.ask("GET", "/x")[0] for _ in range(120)]
        states = sorted(each["state"] for each in balancer.replicas().values())
        assert states == ["ejected", "ejected", "healthy", "healthy"], states
        assert statuses[-20:] == [200] * 20, statuses
    replicas = [Counted(bad), Counted(bad), Counted(bad)]
    with Balancer(*static(*replicas), "--eject-after-5xx", "3", "--eject-time", "60s", "--cores", "0") as balancer:
        balancer.settled(3)
        for _ in range(120):
            assert balancer.ask("GET", "/x")[0] == 500
        states = [each["state"] for each in balancer.replicas().values()]
        assert states.count("ejected") == 1, f"more than half would be out: {states}"


def test_ejection_grows():
    good, bad = Counted(), Counted(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
    with Balancer(*static(good, bad), "--eject-after-5xx", "2", "--eject-time", "300ms", "--cores", "0") as balancer:
        balancer.settled(2)
        spans, out_since = [], None
        end = time.monotonic() + 20
        while len(spans) < 3:
            assert time.monotonic() < end, spans
            balancer.ask("GET", "/x")
            is_out = any(each["state"] == "ejected" for each in balancer.replicas().values())
            if is_out and out_since is None:
                out_since = time.monotonic()
            elif not is_out and out_since is not None:
                spans.append(time.monotonic() - out_since)
                out_since = None
        assert spans[0] < spans[1] < spans[2], spans


def test_a_newcomer_takes_less_than_its_share_at_first():
    with Balancer("--replicas", "2", "--slow-start", "30s", "--cores", "0") as balancer:
        balancer.settled(2)
        assert balancer.json("POST", "/add", {"n": 1, "hostnames": ["S9"]})[0] == 200
        _, told = balancer.json("GET", "/explain?key=123456", port=balancer.admin)
        bounds = {each["hostname"]: each["bound"] for each in told["candidates"]}
        assert bounds["S9"] <= bounds["Server-1"], bounds


def test_retries_have_a_budget():
    dead = Origin(lambda conn, head, rest: conn.close())
    with Balancer(*static(dead, Origin(lambda conn, head, rest: conn.close())), "--eject-after", "0", "--cores", "0") as balancer:
        balancer.settled(2)
        statuses = [balancer.ask("GET", "/x")[0] for _ in range(50)]
        assert set(statuses) == {502}, set(statuses)
        assert balancer.metric("balancer_retries_total") <= 100, "a request is tried twice more at most"
        status, body = balancer.json("GET", "/x")
        assert status == 502 and body["message"].startswith("<Error> "), body


def test_what_may_not_be_repeated_is_not():
    got = []
    def swallow(conn, head, rest):
        got.append(head.split(b" ")[0])
        conn.close()
    replicas = [Origin(swallow), Origin(swallow)]
    with Balancer(*static(*replicas), "--eject-after", "0") as balancer:
        balancer.settled(2)
        assert balancer.ask("POST", "/x", b"{}")[0] == 502
        assert got == [b"POST"], got
        assert balancer.ask("GET", "/x")[0] == 502
        assert got.count(b"GET") == 3, got


def test_waits_have_ends():
    silent, closed = Counted(wait=30), Counted()
    with Balancer(*static(silent), "--response-timeout", "300ms", "--head-timeout", "300ms", "--idle-timeout", "700ms",
                  "--body-timeout", "300ms") as balancer:
        balancer.settled(1)
        status, body = balancer.json("GET", "/x")
        assert status == 504 and body["status"] == "failure", body
        heard, ended = say(balancer.http, b"GET /x HTTP/1.1\r\nHost:")
        assert heard.startswith(b"HTTP/1.1 408 ") and ended, heard
        heard, ended = say(balancer.http, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
        assert heard.startswith(b"HTTP/1.1 408 ") and ended, heard
        heard, ended = say(balancer.http, b"")
        assert heard == b"" and ended, "who says nothing is let go"


def test_expect_interim_answers_and_old_clients():
    def serve(conn, head, rest):
        if b"expect: 100-continue" in head.lower():
            conn.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            while len(rest) < 4:
                rest += conn.recv(100)
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n" + rest)
        elif head.startswith(b"GET /early"):
            conn.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + OK)
        elif head.startswith(b"GET /chunks"):
            conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")
        elif head.startswith(b"GET /none"):
            conn.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
        elif head.startswith(b"HEAD /stray"):
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
            # Whoever asks here again is not answered.
            with contextlib.suppress(ConnectionError):
                while conn.recv(1000):
                    pass
        elif head.startswith(b"HEAD "):
            conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n")
        else:
            conn.sendall(OK)
    with Balancer(*static(Origin(serve))) as balancer:
        balancer.settled(1)
        with socket.create_connection(balancer.http, timeout=10) as conn:
            conn.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            heard = b""
            while b"\r\n\r\n" not in heard:
                heard += conn.recv(1000)
            assert heard.startswith(b"HTTP/1.1 100 "), heard
            conn.sendall(b"body")
            heard = heard.split(b"\r\n\r\n", 1)[1]
            while not heard.endswith(b"body"):
                heard += conn.recv(1000)
            assert b" 200 OK" in heard, heard
        close = b"Host: a\r\nConnection: close\r\n\r\n"
        heard, _ = say(balancer.http, b"GET /early HTTP/1.1\r\n" + close)
        assert heard.startswith(b"HTTP/1.1 103 ") and heard.endswith(b"ok"), heard
        heard, ended = say(balancer.http, b"GET /early HTTP/1.0\r\n\r\n")
        assert b" 103 " not in heard and b" 200 OK" in heard and heard.endswith(b"\r\n\r\nok") and ended, heard
        heard, ended = say(balancer.http, b"GET /chunks HTTP/1.0\r\n\r\n")
        assert b"chunked" not in heard.lower() and heard.endswith(b"\r\n\r\nabc") and ended, heard
        heard, _ = say(balancer.http, b"GET /none HTTP/1.1\r\n" + close)
        assert heard.startswith(b"HTTP/1.1 204 ") and b"content-length" not in heard.lower(), heard
        heard, ended = say(balancer.http, b"HEAD /x HTTP/1.1\r\n" + close)
        assert b"Content-Length: 77" in heard and heard.endswith(b"\r\n\r\n") and ended, heard
        heard, _ = say(balancer.http, b"HEAD /stray HTTP/1.1\r\n" + close)
        assert b"Content-Length: 3" in heard and heard.endswith(b"\r\n\r\n"), heard
        heard, _ = say(balancer.http, b"GET /after HTTP/1.1\r\n" + close, wait=20)
        assert heard.endswith(b"\r\n\r\nok"), ("a connection that brought more than its answer was used again", heard)
        heard, ended = say(balancer.http, b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", wait=0.5)
        assert not ended and b"keep-alive" in heard.lower(), heard


def test_only_this_machine_or_a_token_may_change_something():
    import subprocess
    import tempfile
    with tempfile.NamedTemporaryFile("w", suffix=".tokens") as file:
        file.write("a-secret-word\n")
        file.flush()
        with Balancer("--listen", "0.0.0.0", "--auth-file", file.name, "--replicas", "1") as balancer:
            balancer.settled(1)
            # From an address of this machine that is not loopback.
            found = subprocess.run(["hostname", "-I"], capture_output=True, text=True).stdout.split()
            outside = [address for address in found if ":" not in address and not address.startswith("127.")]
            if not outside:
                print("    this machine has no address but loopback: 403 was not tried")
                return
            there = (outside[0], balancer.http[1])
            assert balancer.json("GET", "/rep", port=there)[0] == 200
            for method, path in [("POST", "/add"), ("DELETE", "/rm")]:
                status, body = balancer.json(method, path, {"n": 1}, port=there)
                assert status == 403 and body["status"] == "failure", body
            headers = {"Content-Type": "application/json", "Authorization": "Bearer a-secret-word"}
            status, text = balancer.ask("POST", "/add", '{"n":1,"hostnames":["S5"]}', headers, port=there)
            assert status == 200 and json.loads(text)["message"]["replicas"] == ["Server-1", "S5"], text
            headers["Authorization"] = "Bearer a-secret-worm"
            assert balancer.ask("POST", "/add", '{"n":1}', headers, port=there)[0] == 403


def test_classic_off_gives_the_paths_to_replicas():
    with Balancer("--classic", "off", "--replicas", "1") as balancer:
        balancer.settled(1)
        status, body = balancer.json("GET", "/rep")
        assert status == 404 and body["status"] == "failure", body
        status, body = balancer.json("POST", "/add", {"n": 1, "hostnames": ["S5"]}, port=balancer.admin)
        assert status == 200 and body["message"]["replicas"] == ["Server-1", "S5"], body


if __name__ == "__main__":
    _server.run(sys.modules[__name__])
