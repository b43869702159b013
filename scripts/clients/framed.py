"""The framed text protocol over a plain socket: a length in four bytes, then that many bytes."""

import hashlib
import socket
import struct
import sys

from _server import Server, run

VALUE_MAX = 16 * 1024 * 1024


class Client:
    """One connection; `ask` sends a request and waits for its reply."""

    def __init__(self, address):
        self.socket = socket.create_connection(address, timeout=30)
        self.incoming = self.socket.makefile("rb")

    def send(self, *requests):
        self.socket.sendall(b"".join(struct.pack(">I", len(each)) + each for each in requests))

    def reply(self):
        (length,) = struct.unpack(">I", self.incoming.read(4))
        return self.incoming.read(length)

    def ask(self, request):
        self.send(request)
        return self.reply()


def test_put_get_rem():
    with Server() as server:
        client = Client(server.frame)
        assert client.ask(b"put 100000 first") == b"SUCCESS"
        assert client.ask(b"get 100000") == b"first"
        assert client.ask(b"put 100000 second one, with  spaces ") == b"SUCCESS"
        assert client.ask(b"get 100000") == b"second one, with  spaces "
        assert client.ask(b"rem 100000") == b"SUCCESS"
        assert client.ask(b"get 100000") == b"NONE"
        assert client.ask(b"rem 100000") == b"NONE"


def test_a_bad_request_does_not_cost_the_connection():
    with Server() as server:
        client = Client(server.frame)
        assert client.ask(b"jump 1 2") == b"NONE"
        assert client.ask(b"put").startswith(b"FAILURE ")
        assert client.ask(b"put lonely").startswith(b"FAILURE ")
        assert client.ask(b"put k v") == b"SUCCESS"


def test_many_in_flight_are_answered_in_order():
    with Server() as server:
        client = Client(server.frame)
        count = 5000
        client.send(*(b"put %d value-%d" % (key, key) for key in range(count)))
        assert all(client.reply() == b"SUCCESS" for _ in range(count))
        client.send(*(b"get %d" % key for key in range(count)))
        for key in range(count):
            assert client.reply() == b"value-%d" % key


def test_bytes_cut_anywhere_are_put_together():
    with Server() as server:
        client = Client(server.frame)
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        request = b"put cut in pieces"
        for byte in struct.pack(">I", len(request)) + request:
            client.socket.sendall(bytes([byte]))
        assert client.reply() == b"SUCCESS"
        assert client.ask(b"get cut") == b"in pieces"


def test_a_value_of_any_bytes_and_of_the_largest_size():
    with Server() as server:
        client = Client(server.frame)
        value = hashlib.shake_128(b"large").digest(VALUE_MAX)
        assert client.ask(b"put large " + value) == b"SUCCESS"
        assert client.ask(b"get large") == value


def test_a_length_over_the_limit_is_answered_once_and_ends_the_connection():
    with Server() as server:
        client = Client(server.frame)
        client.socket.sendall(struct.pack(">I", 0x7FFF_FFFF))
        assert client.reply().startswith(b"FAILURE ")
        assert client.incoming.read(1) == b""
        assert Client(server.frame).ask(b"get k") == b"NONE"


def test_what_is_put_here_is_seen_over_resp():
    with Server() as server:
        assert Client(server.frame).ask(b"put shared one table") == b"SUCCESS"
        with socket.create_connection(server.resp, timeout=30) as resp:
            resp.sendall(b"GET shared\r\n")
            assert resp.recv(64) == b"$9\r\none table\r\n"


if __name__ == "__main__":
    run(sys.modules[__name__])
