"""Bodies of a gigabyte with a side that stalls, at bounded memory; what is upgraded; and the end by SIGKILL."""

import hashlib
import os
import signal
import socket
import sys
import threading
import time

import _server
from _balancer import Balancer, alive, descendants, until

GIGABYTE = 1 << 30
PART = bytes(range(256)) * 1024
PARTS = GIGABYTE // len(PART)
MEMORY_MAX = 64 << 20
STALL_SECONDS = 2


class Origin:
    """A replica that somebody else runs: `serve` is called with each connection and what came first."""

    def __init__(self, serve):
        self.serve = serve
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.at = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            conn, _ = self.listener.accept()
            threading.Thread(target=self.attend, args=(conn,), daemon=True).start()

    def attend(self, conn):
        with conn:
            heard = b""
            while b"\r\n\r\n" not in heard:
                part = conn.recv(65536)
                if not part:
                    return
                heard += part
            head, rest = heard.split(b"\r\n\r\n", 1)
            if head.startswith(b"GET /heartbeat "):
                conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                return
            self.serve(conn, head, rest)


def memory(pid):
    with open(f"/proc/{pid}/status") as file:
        line = next(line for line in file if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


def beside(origin, *options):
    return Balancer("--driver", "static", "--replicas", "1", "--replica-address", origin.at, *options)


def watched(balancer, work):
    """Runs `work`; gives by how much the balancer's memory grew meanwhile, at most."""
    before, most, running = memory(balancer.process.pid), 0, True

    def watch():
        nonlocal most
        while running:
            most = max(most, memory(balancer.process.pid))
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        running = False
        watcher.join()
    return most - before


def test_a_gigabyte_down_when_either_side_stalls():
    def serve(conn, head, rest):
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIGABYTE)
        for part in range(PARTS):
            if part == PARTS // 2:
                time.sleep(STALL_SECONDS)
            conn.sendall(PART)

    with beside(Origin(serve)) as balancer:
        balancer.settled(1)

        def take():
            with socket.create_connection(balancer.http) as conn:
                conn.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
                time.sleep(STALL_SECONDS)
                seen, count = hashlib.sha256(), 0
                head, rest = conn.recv(65536).split(b"\r\n\r\n", 1)
                seen.update(rest)
                count += len(rest)
                while count < GIGABYTE:
                    part = conn.recv(1 << 20)
                    assert part, f"ended after {count} bytes"
                    seen.update(part)
                    count += len(part)
                assert seen.digest() == whole(), "what came is what was sent"

        grown = watched(balancer, take)
        print(f"    memory grew by {grown >> 20} MiB")
        assert grown < MEMORY_MAX, grown


def whole():
    seen = hashlib.sha256()
    for _ in range(PARTS):
        seen.update(PART)
    return seen.digest()


def test_a_gigabyte_up_in_chunks_when_either_side_stalls():
    told = []

    def serve(conn, head, rest):
        time.sleep(STALL_SECONDS)
        assert b"transfer-encoding: chunked" in head.lower(), head
        file = conn.makefile("rb", buffering=1 << 20)
        pending = rest
        def line():
            nonlocal pending
            if b"\r\n" in pending:
                found, pending = pending.split(b"\r\n", 1)
                return found
            found, pending = pending + file.readline(), b""
            return found.rstrip(b"\r\n")
        seen = hashlib.sha256()
        while size := int(line(), 16):
            payload, pending = pending[: size + 2], pending[size + 2 :]
            payload += file.read(size + 2 - len(payload))
            seen.update(payload[:-2])
        line()
        told.append(seen.digest())
        conn.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    with beside(Origin(serve)) as balancer:
        balancer.settled(1)

        def send():
            with socket.create_connection(balancer.http) as conn:
                conn.sendall(b"POST /big HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
                chunk = b"%x\r\n" % len(PART) + PART + b"\r\n"
                for part in range(PARTS):
                    if part == PARTS // 2:
                        time.sleep(STALL_SECONDS)
                    conn.sendall(chunk)
                conn.sendall(b"0\r\n\r\n")
                assert conn.recv(65536).endswith(b"\r\n\r\nok")

        grown = watched(balancer, send)
        print(f"    memory grew by {grown >> 20} MiB")
        assert grown < MEMORY_MAX, grown
        assert told == [whole()], "what came is what was sent"


def test_an_upgrade_passes_both_ways_after_a_101():
    def serve(conn, head, rest):
        assert b"upgrade: chat" in head.lower() and b"connection: upgrade" in head.lower(), head
        conn.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nwelcome")
        while part := conn.recv(65536):
            conn.sendall(part.upper())

    with beside(Origin(serve)) as balancer:
        balancer.settled(1)
        with socket.create_connection(balancer.http, timeout=5) as conn:
            conn.sendall(b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
            heard = b""
            while not heard.endswith(b"welcome"):
                heard += conn.recv(65536)
            assert heard.startswith(b"HTTP/1.1 101 "), heard
            conn.sendall(b"not \0 http at all\n")
            assert conn.recv(65536) == b"NOT \0 HTTP AT ALL\n"


def test_hops_are_dropped_and_who_asked_is_told():
    heads = []

    def serve(conn, head, rest):
        heads.append(head.lower())
        conn.sendall(b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-End: 1\r\nContent-Length: 0\r\n\r\n")

    with beside(Origin(serve)) as balancer:
        balancer.settled(1)
        with socket.create_connection(balancer.http, timeout=5) as conn:
            conn.sendall(
                b"GET http://there/x?y HTTP/1.1\r\nHost: there\r\nConnection: X-Mine\r\nX-Mine: 1\r\nTE: trailers\r\n"
                b"X-Forwarded-For: 10.0.0.1\r\nKeep-Alive: 1\r\nX-Other: 2\r\n\r\n"
            )
            answer = conn.recv(65536).lower()
        assert heads[0].startswith(b"get /x?y http/1.1\r\nhost: there\r\n"), heads
        for gone in (b"x-mine", b"keep-alive", b"\r\nte:", b"connection"):
            assert gone not in heads[0], (gone, heads[0])
        for told in (b"x-forwarded-for: 10.0.0.1, 127.0.0.1", b"x-forwarded-proto: http", b"via: 1.1 ringwise", b"x-other: 2"):
            assert told in heads[0], (told, heads[0])
        assert b"x-hop" not in answer and b"x-end: 1" in answer and b"via: 1.1 ringwise" in answer, answer


def test_a_replica_that_answers_nonsense_or_nothing():
    answers = {
        b"/nonsense": (b"ICY 200 OK\r\n\r\n", b"502"),
        b"/nothing": (b"", b"502"),
        b"/both": (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"502"),
    }

    def serve(conn, head, rest):
        path = head.split()[1]
        if path == b"/slow":
            time.sleep(3)
        conn.sendall(answers.get(path, (b"",))[0])

    with beside(Origin(serve), "--response-timeout", "300ms") as balancer:
        balancer.settled(1)
        for path, (_, status) in answers.items():
            found, body = balancer.ask("POST", path.decode())
            assert str(found).encode() == status and '"status":"failure"' in body, (path, found, body)
        assert balancer.ask("GET", "/slow")[0] == 504


def test_killed_it_leaves_no_process():
    with Balancer("--replicas", "3") as balancer:
        balancer.settled(3)
        below = descendants(balancer.process.pid)
        assert len(below) >= 4, below
        os.kill(balancer.process.pid, signal.SIGKILL)
        balancer.process.wait()
        until(lambda: not alive(below), f"processes are left: {alive(below)}")


if __name__ == "__main__":
    _server.run(sys.modules[__name__])
