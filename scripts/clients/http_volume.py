"""A gibibyte up and a gibibyte down, at a bounded cost: announced and chunked, to who takes nothing for a while, and to
who reads slowly. What the process holds is looked at all along, and who behaves is served meanwhile."""

import socket
import sys
import threading
import time

from _server import resident, run
from _stand import Stand

BODY = 1 << 30
# Sent at once, and the size of a chunk: large enough that Python is not what is waited for.
PART = 1 << 20
# What a process may hold more than before.
GROWN_MAX = 64 << 20
WAIT_SECONDS_MAX = 60
# How long the stand takes nothing of a body; longer than every time that it gives a client to bring one.
STALL_MS = 2500
# Parts of /big, of ten thousand bytes each, that are a gibibyte and a little.
BIG_PARTS = BODY // 10_000 + 1
# How long the slow reader is slow, and what it takes every SLOW_STEP_SECONDS of it: longer than the stand bears
# somebody who takes nothing (2 s), and less in that time than what the kernel would keep for it unless told otherwise.
SLOW_SECONDS = 3
SLOW_STEP_SECONDS = 0.02
SLOW_BYTES = 4096


class Watch:
    """Looks at what the stand holds and asks it as a client that behaves, on one connection, until the end."""

    def __init__(self, stand):
        self.stand = stand
        self.before = resident(stand.process)
        self.grown = self.served = 0
        self.wrong = None
        self.over = threading.Event()

    def look(self):
        try:
            with connected(self.stand) as client:
                while not self.over.is_set():
                    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    status, body = answer(client)
                    assert (status, body) == (200, b"home\n"), (status, body)
                    self.served += 1
                    self.grown = max(self.grown, resident(self.stand.process) - self.before)
                    self.over.wait(0.02)
        except Exception as wrong:
            self.wrong = wrong

    def __enter__(self):
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.over.set()
        self.thread.join()
        if kind is None:
            assert self.wrong is None, f"who behaves is served: {self.wrong!r}"
            assert self.served > 3, f"it was looked at {self.served} times"
            assert self.grown < GROWN_MAX, f"{self.grown >> 20} MiB more for a gibibyte that passes"
            print(f"    {self.grown / (1 << 20):.1f} MiB more at most, others served {self.served} times")


def connected(stand):
    return socket.create_connection(stand.address, timeout=WAIT_SECONDS_MAX)


def head(client):
    """An answer's status and headers, and what came with them of its body."""
    said = b""
    while b"\r\n\r\n" not in said:
        part = client.recv(65536)
        assert part, f"closed after {said!r}"
        said += part
    lines, rest = said.split(b"\r\n\r\n", 1)
    first, *fields = lines.split(b"\r\n")
    headers = dict(field.lower().split(b": ", 1) for field in fields)
    return int(first.split()[1]), headers, rest


def answer(client):
    """A whole answer that says how long it is."""
    status, headers, body = head(client)
    while len(body) < int(headers[b"content-length"]):
        part = client.recv(65536)
        assert part, f"closed within {headers}"
        body += part
    return status, body


def announced(client, path):
    part = b"u" * PART
    client.sendall(f"PUT {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {BODY}\r\n\r\n".encode())
    for _ in range(BODY // PART):
        client.sendall(part)


def chunked(client, path):
    chunk = b"%x\r\n" % PART + b"u" * PART + b"\r\n"
    client.sendall(f"PUT {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    for _ in range(BODY // PART):
        client.sendall(chunk)
    client.sendall(b"0\r\n\r\n")


def upload(how, path):
    with Stand() as stand, connected(stand) as client, Watch(stand):
        began = time.monotonic()
        how(client, path)
        status, body = answer(client)
        assert (status, body) == (200, b"%d bytes" % BODY), (status, body)
        return time.monotonic() - began


def test_a_gibibyte_announced():
    upload(announced, "/uploads")


def test_a_gibibyte_in_chunks():
    upload(chunked, "/uploads")


def test_a_gibibyte_to_who_stalls():
    took = upload(announced, f"/stalled?ms={STALL_MS}")
    assert took * 1000 >= STALL_MS, f"nothing was taken for {STALL_MS} ms, and all was in {took:.1f} s"


def test_a_gibibyte_to_who_reads_slowly():
    with Stand() as stand, connected(stand) as client, Watch(stand):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        client.sendall(f"GET /big?parts={BIG_PARTS} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        status, headers, rest = head(client)
        assert status == 200 and headers[b"transfer-encoding"] == b"chunked", headers
        until = time.monotonic() + SLOW_SECONDS
        slow = bytearray(rest)
        while time.monotonic() < until:
            slow += client.recv(SLOW_BYTES)
            time.sleep(SLOW_STEP_SECONDS)
        length, tail = len(slow), bytes(slow[-16:])
        buffer = bytearray(1 << 20)
        while count := client.recv_into(buffer):
            length += count
            tail = (tail + buffer[max(0, count - 16):count])[-16:]
        # Each part is a chunk with its size before it; the last one is empty.
        assert tail.endswith(b"x\r\n0\r\n\r\n"), tail
        around = len(b"%x\r\n\r\n" % 10_000)
        assert length == BIG_PARTS * (10_000 + around) + len(b"0\r\n\r\n"), length


if __name__ == "__main__":
    run(sys.modules[__name__])
