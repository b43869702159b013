"""Bad input against the real process: each kind is answered or closed with a reason, memory stays bounded, and a
client that behaves is served all the while.

Each test opens its bad connections beside a good one, and the good one must be answered before, during and after.
"""

import contextlib
import os
import random
import socket
import struct
import sys
import threading

from _server import Server, run

PATIENCE = 30
MIB = 1024 * 1024
# What the server may grow by under any of these: well under what they announce.
GROWTH_MAX = 96 * MIB


def connect(address):
    return socket.create_connection(address, timeout=PATIENCE)


def until_closed(sock):
    """All bytes until the server closes; a reset counts as a close."""
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while chunk := sock.recv(65536):
            received += chunk
    return bytes(received)


def resident(server):
    with open(f"/proc/{server.keys['pid']}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Good:
    """A client that behaves."""

    def __init__(self, server):
        self.server = server
        self.socket = connect(server.resp)
        self.count = 0
        self.ask()
        self.memory = resident(server)

    def ask(self):
        self.count += 1
        value = b"%d" % self.count
        self.socket.sendall(b"SET good %b\r\nGET good\r\n" % value)
        expected = b"+OK\r\n$%d\r\n%b\r\n" % (len(value), value)
        received = b""
        while len(received) < len(expected):
            chunk = self.socket.recv(4096)
            assert chunk, "the good client was cut off"
            received += chunk
        assert received == expected, received

    def served_and_bounded(self):
        self.ask()
        grown = resident(self.server) - self.memory
        assert grown < GROWTH_MAX, f"grew by {grown // MIB} MiB"


def test_half_a_request_then_silence_costs_nothing_else():
    with Server() as server:
        good = Good(server)
        silent = [connect(server.resp) for _ in range(200)]
        for sock in silent:
            sock.sendall(b"*3\r\n$3\r\nSET\r\n$5\r\nhal")
        good.served_and_bounded()
        # Half a request is no fault: the rest may still come.
        silent[0].sendall(b"f!\r\n$1\r\nx\r\n")
        assert silent[0].recv(100) == b"+OK\r\n"
        good.served_and_bounded()


def test_a_bulk_of_four_gibibytes_is_refused():
    with Server() as server:
        good = Good(server)
        sock = connect(server.resp)
        sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4294967296\r\n")
        assert until_closed(sock) == b"-ERR Protocol error: invalid bulk length\r\n"
        good.served_and_bounded()


def test_a_frame_of_four_gibibytes_is_refused():
    with Server() as server:
        good = Good(server)
        sock = connect(server.frame)
        sock.sendall(b"\xff\xff\xff\xffput k v")
        answer = until_closed(sock)
        (length,) = struct.unpack(">I", answer[:4])
        assert answer[4:].startswith(b"FAILURE ") and len(answer) == 4 + length, answer
        good.served_and_bounded()


def test_a_header_of_a_million_elements_allocates_nothing():
    with Server() as server:
        good = Good(server)
        socks = [connect(server.resp) for _ in range(100)]
        for sock in socks:
            sock.sendall(b"*1000000\r\n$4\r\nPING\r\n")
        good.served_and_bounded()
        for sock in socks:
            sock.shutdown(socket.SHUT_WR)
            assert until_closed(sock) == b""
        good.served_and_bounded()


def test_more_elements_than_any_request_has_are_refused():
    with Server() as server:
        good = Good(server)
        for count in (b"2147483648", b"99999999999999999999"):
            sock = connect(server.resp)
            sock.sendall(b"*%b\r\n" % count)
            assert until_closed(sock) == b"-ERR Protocol error: invalid multibulk length\r\n"
        good.served_and_bounded()


def test_garbage_is_answered_or_closed():
    with Server() as server:
        good = Good(server)
        chance = random.Random(7)
        for _ in range(200):
            sock = connect(server.resp if chance.random() < 0.5 else server.frame)
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                sock.sendall(chance.randbytes(chance.randrange(1, 5000)))
                sock.shutdown(socket.SHUT_WR)
            until_closed(sock)
        good.served_and_bounded()


def test_a_web_request_is_closed():
    with Server() as server:
        good = Good(server)
        sock = connect(server.resp)
        sock.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\nSET stolen yes\r\n")
        until_closed(sock)
        assert ask(server, b"GET stolen\r\n", 5) == b"$-1\r\n"
        good.served_and_bounded()


def ask(server, request, length):
    sock = connect(server.resp)
    sock.sendall(request)
    received = b""
    while len(received) < length:
        chunk = sock.recv(length)
        assert chunk, received
        received += chunk
    return received


def test_a_line_without_end_is_refused():
    with Server() as server:
        good = Good(server)
        sock = connect(server.resp)
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for _ in range(40):
                sock.sendall(b"x" * 4096)
        assert b"too big inline request" in until_closed(sock)
        good.served_and_bounded()


def test_a_client_that_never_reads_is_bounded():
    with Server() as server:
        good = Good(server)
        value = b"v" * MIB
        ask(server, b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n%b\r\n" % (len(value), value), 5)
        good.memory = resident(server)
        deaf = connect(server.resp)
        deaf.setblocking(False)
        sent = 0
        # 4,000 MiB of answers are asked for and none is taken.
        with contextlib.suppress(BlockingIOError, ConnectionResetError, BrokenPipeError):
            for _ in range(4000):
                deaf.sendall(b"GET big\r\n")
                sent += 1
        assert sent > 0
        for _ in range(20):
            good.served_and_bounded()


def test_many_that_announce_much_and_send_little_are_bounded():
    with Server() as server:
        good = Good(server)
        socks = [connect(server.resp) for _ in range(500)]
        for sock in socks:
            sock.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$16000000\r\nabc")
        good.served_and_bounded()


def test_connections_that_come_and_go_leave_nothing():
    with Server() as server:
        good = Good(server)

        def hurry():
            for count in range(500):
                sock = socket.create_connection(server.resp)
                if count % 2:
                    sock.sendall(b"PING\r\nPI")
                # Zero linger: a reset in place of an orderly end.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()

        threads = [threading.Thread(target=hurry) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        good.served_and_bounded()
        descriptors = len(os.listdir(f"/proc/{server.keys['pid']}/fd"))
        assert descriptors < 200, f"{descriptors} descriptors are open"


def test_a_key_over_its_bound_is_refused_and_the_connection_lives():
    with Server() as server:
        good = Good(server)
        sock = connect(server.frame)
        key = b"k" * (64 * 1024 + 1)
        request = b"put " + key + b" v"
        sock.sendall(struct.pack(">I", len(request)) + request)
        (length,) = struct.unpack(">I", sock.recv(4))
        assert sock.recv(length).startswith(b"FAILURE ")
        sock.sendall(struct.pack(">I", 7) + b"put k v")
        (length,) = struct.unpack(">I", sock.recv(4))
        assert sock.recv(length) == b"SUCCESS"
        good.served_and_bounded()


if __name__ == "__main__":
    run(sys.modules[__name__])
