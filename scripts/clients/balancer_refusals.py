"""What HTTP forbids, sent as raw bytes: each is refused with its status and a close, and costs nobody else anything."""

import socket
import sys
import time

import _server
from _balancer import Balancer, say

GOOD = b"GET /home HTTP/1.1\r\nHost: a\r\n\r\n"
# (what is sent, the status, the RFC and section that says so)
GET = b"GET /home HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
BOTH = POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
TABLE = [
    (b"GET /home HTTP/1.1\nHost: a\n\n", 400, "9112 2.2 bare LF"),
    (b"GET /home HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400, "9112 2.2 bare LF behind a header"),
    (b"GET /home HTTP/1.1\r\nHost: a\r\n\n", 400, "9112 2.2 bare LF at the end"),
    (GET + b"X: a\rb\r\n\r\n", 400, "9112 2.2 bare CR"),
    (b"GET /home HTTP/1.1\rHost: a\r\r", 400, "9112 2.2 bare CR as lines' ends"),
    (b"GET /home HTTP/1.1\r\n Host: a\r\n\r\n", 400, "9112 2.2 white space before the first header"),
    (b"GET /home HTTP/1.1\r\nHost : a\r\n\r\n", 400, "9112 5.1 white space before the colon"),
    (GET + b"X\t: a\r\n\r\n", 400, "9112 5.1 a tab before the colon"),
    (GET + b"nonsense\r\n\r\n", 400, "9112 5 no colon"),
    (GET + b": a\r\n\r\n", 400, "9112 5 no name"),
    (GET + b"X: a\r\n b\r\n\r\n", 400, "9112 5.2 folded"),
    (GET + b"X: a\r\n\tb\r\n\r\n", 400, "9112 5.2 folded by a tab"),
    (b"GET /home HTTP/1.1\r\n\r\n", 400, "9112 3.2 no Host"),
    (b"GET /home HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "9112 3.2 two Hosts"),
    (b"GET /home HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "9112 3.2 the same Host twice"),
    (b"GET /home HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "9112 3.2 a list of hosts"),
    (b"GET /home HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, "9112 3.2 a user before the host"),
    (BOTH, 400, "9112 6.1 both"),
    (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400, "9112 6.1 both, in the other order"),
    (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400, "9112 6.3 differing"),
    (POST + b"Content-Length: 3, 4\r\n\r\nabc", 400, "9112 6.3 listed and differing"),
    (POST + b"Content-Length: 3, 3\r\n\r\nabc", 400, "9112 6.3 listed"),
    (POST + b"Content-Length: +3\r\n\r\nabc", 400, "9110 8.6 a sign"),
    (POST + b"Content-Length: -3\r\n\r\nabc", 400, "9110 8.6 a minus"),
    (POST + b"Content-Length:\r\n\r\nabc", 400, "9110 8.6 empty"),
    (POST + b"Content-Length: 0x3\r\n\r\nabc", 400, "9110 8.6 0x"),
    (POST + b"Content-Length: 1_0\r\n\r\nabc", 400, "9110 8.6 _"),
    (POST + b"Content-Length: 3 3\r\n\r\nabc", 400, "9110 8.6 white space within"),
    (POST + b"Content-Length: 99999999999999999999\r\n\r\n", 400, "9110 8.6 overflow"),
    (POST + b"Content-Length: 18446744073709551616\r\n\r\n", 400, "9110 8.6 overflow by one"),
    (POST + b"Transfer-Encoding: gzip\r\n\r\n", 400, "9112 6.3 not chunked at the end"),
    (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400, "9112 6.3 something behind chunked"),
    (POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400, "9112 6.3 almost chunked"),
    (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400, "9112 6.1 chunked twice"),
    (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "9112 6.1 an unknown coding"),
    (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "9112 6.1 chunked in HTTP/1.0"),
    (CHUNKED + b"+3\r\nabc\r\n0\r\n\r\n", 400, "9112 7.1 a sign"),
    (CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", 400, "9112 7.1 a minus"),
    (CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n", 400, "9112 7.1 0x"),
    (CHUNKED + b"1_0\r\nabc\r\n0\r\n\r\n", 400, "9112 7.1 _"),
    (CHUNKED + b"\r\nabc\r\n0\r\n\r\n", 400, "9112 7.1 no size"),
    (CHUNKED + b"3\nabc\r\n0\r\n\r\n", 400, "9112 7.1 a size's line ends in LF"),
    (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400, "9112 7.1 longer than its size"),
    (CHUNKED + b"10000000000000000\r\nabc", 400, "9112 7.1 overflow"),
    (CHUNKED + b"3;a\nb\r\nabc\r\n0\r\n\r\n", 400, "9112 7.1.1 LF in an extension"),
    (CHUNKED + b"0\r\nX : a\r\n\r\n", 400, "9112 7.1.2 white space before a trailer's colon"),
    (GET + b"X: a\0b\r\n\r\n", 400, "9110 5.5 NUL"),
    (GET + b"X: a\x07b\r\n\r\n", 400, "9110 5.5 a control byte"),
    (GET + b"X: a\x7fb\r\n\r\n", 400, "9110 5.5 DEL"),
    (GET + b"X\0: a\r\n\r\n", 400, "9110 5.1 NUL in a name"),
    (b"GET /a\0 HTTP/1.1\r\nHost: a\r\n\r\n", 400, "9112 3.2 NUL in the target"),
    (b"GET  /home HTTP/1.1\r\nHost: a\r\n\r\n", 400, "9112 3 two spaces"),
    (b"GET /home\r\nHost: a\r\n\r\n", 400, "9112 3 no version"),
    (b"GET /home http/1.1\r\nHost: a\r\n\r\n", 400, "9112 2.3 a version in small letters"),
    (b"G(T /home HTTP/1.1\r\nHost: a\r\n\r\n", 400, "9110 9.1 a method that is no token"),
    (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03" + b"\0" * 50, 400, "9110 9.1 TLS to a plain port"),
    (GET + b"X: " + b"a" * 70000 + b"\r\n\r\n", 431, "6585 5 a long head"),
    (GET + b"X: a\r\n" * 200 + b"\r\n", 431, "6585 5 many headers"),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "9112 3 a long target"),
    (b"GET /home HTTP/2.0\r\nHost: a\r\n\r\n", 505, "9110 15.6.6 an unknown version"),
    (b"GET /home HTTP/1.2\r\nHost: a\r\n\r\n", 505, "9110 15.6.6 a later version"),
    (b"GET /home HTTP/0.9\r\nHost: a\r\n\r\n", 505, "9110 15.6.6 an earlier version"),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "9110 15.6.6 the preface of HTTP/2"),
    (POST + b"Expect: magic\r\nContent-Length: 0\r\n\r\n", 417, "9110 10.1.1 another expectation"),
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
        heard, has_ended = say(balancer.http, BOTH + GOOD)
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
