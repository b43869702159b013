"""What HTTP forbids, sent as raw bytes: each is refused with its status and a close, and costs nobody else anything."""

import socket
import sys
import time

import _server
from _balancer import Balancer, say

GOOD = b"GET /home HTTP/1.1\r\nHost: a\r\n\r\n"
# (what is sent, the status, the RFC and section that says so)
TABLE = [
    (b"GET /home HTTP/1.1\nHost: a\n\n", 400, "9112 2.2 bare LF"),
    (b"GET /home HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400, "9112 2.2 bare CR"),
    (b"GET /home HTTP/1.1\r\nHost : a\r\n\r\n", 400, "9112 5.1 white space before the colon"),
    (b"GET /home HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, "9112 5.2 folded"),
    (b"GET /home HTTP/1.1\r\n\r\n", 400, "9112 3.2 no Host"),
    (b"GET /home HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "9112 3.2 two Hosts"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "9112 6.1 both"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400, "9112 6.3 differing"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc", 400, "9112 6.3 listed"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc", 400, "9110 8.6 no digits"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 400, "9110 8.6 overflow"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400, "9112 6.3 not chunked at the end"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n", 400, "9112 7.1 a sign"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", 400, "9112 7.1 0x"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1_0\r\nabc\r\n0\r\n\r\n", 400, "9112 7.1 _"),
    (b"GET /home HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n", 400, "9110 5.5 NUL"),
    (b"GET /home HTTP/1.1\r\nHost: a\r\nX: a\x07b\r\n\r\n", 400, "9110 5.5 a control byte"),
    (b"GET /home HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70000 + b"\r\n\r\n", 431, "6585 5 a long head"),
    (b"GET /home HTTP/1.1\r\nHost: a\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431, "6585 5 many headers"),
    (b"GET /home HTTP/2.0\r\nHost: a\r\n\r\n", 505, "9110 15.6.6 an unknown version"),
    (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405, "9110 9.3.6 no tunnels"),
]


def test_each_is_refused_with_its_status_and_a_close():
    with Balancer("--replicas", "1") as balancer:
        balancer.settled(1)
        with socket.create_connection(balancer.http) as beside:
            for sent, status, why in TABLE:
                heard, has_ended = say(balancer.http, sent)
                assert has_ended, f"{why}: the connection is open after {heard!r}"
                assert heard.startswith(b"HTTP/1.1 %d " % status), f"{why}: {heard!r}"
                assert b'"message":"<Error> ' in heard and b"onnection: close" in heard, f"{why}: {heard!r}"
                beside.sendall(GOOD)
                assert beside.recv(65536).startswith(b"HTTP/1.1 200 "), why


def test_what_is_smuggled_behind_a_refusal_is_not_read():
    with Balancer("--replicas", "1") as balancer:
        balancer.settled(1)
        heard, has_ended = say(balancer.http, TABLE[6][0] + GOOD)
        assert has_ended and heard.count(b"HTTP/1.1 ") == 1, heard


def test_slow_senders_are_cut_and_pipelined_requests_keep_their_order():
    with Balancer("--replicas", "1", "--head-timeout", "300ms", "--body-timeout", "300ms") as balancer:
        balancer.settled(1)
        for begun in (b"GET /home HT", b"POST /home HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"):
            heard, has_ended = say(balancer.http, begun)
            assert has_ended and heard.startswith(b"HTTP/1.1 408 "), heard
        with socket.create_connection(balancer.http) as slow:
            late = time.monotonic() + 5
            try:
                for byte in b"GET /home HTTP/1.1\r\nHost: a\r\nX: aaaaaaaaaaaaaaaaaaaaaaa\r\n\r\n":
                    slow.sendall(bytes([byte]))
                    time.sleep(0.02)
                    assert time.monotonic() < late
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert slow.recv(65536).startswith(b"HTTP/1.1 408 ")
        last = b"GET /heartbeat HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        heard, has_ended = say(balancer.http, GOOD * 20 + b"GET /no HTTP/1.1\r\nHost: a\r\n\r\n" + last)
        statuses = [part.split(b" ")[0] for part in heard.split(b"HTTP/1.1 ")[1:]]
        assert has_ended and statuses == [b"200"] * 20 + [b"404", b"200"], statuses


def test_versions_methods_and_expectations():
    with Balancer("--replicas", "1") as balancer:
        balancer.settled(1)
        heard, has_ended = say(balancer.http, b"GET /home HTTP/1.0\r\n\r\n")
        assert has_ended and heard.startswith(b"HTTP/1.1 200 ") and b"Hello" in heard, heard
        head = b"HEAD /home HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        heard, _ = say(balancer.http, head)
        assert b"Content-Length: 57" in heard and heard.endswith(b"\r\n\r\n"), heard
        with socket.create_connection(balancer.http, timeout=5) as conn:
            conn.sendall(b"POST /x HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
            assert conn.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
            conn.sendall(b"abc")
            assert conn.recv(65536).startswith(b"HTTP/1.1 404 ")


if __name__ == "__main__":
    _server.run(sys.modules[__name__])
