"""Connections that live long: nine thousand that are idle, and WebSockets by a library that people have."""

import concurrent.futures
import http
import os
import resource
import socket
import sys
import threading

import websockets.exceptions
import websockets.sync.client
import websockets.sync.server

import _server
from _balancer import Balancer, until

IDLE = 9000
# Of ours; the kernel has about as much again for each socket.
BYTES_EACH_MAX = 8192
GET = b"GET /home HTTP/1.1\r\nHost: a\r\n\r\n"
CHATS = 20
MEGABYTE = os.urandom(1 << 20)


def test_nine_thousand_idle_connections_cost_little_each():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= IDLE + 100, f"{hard} open files are too few: ulimit -n {IDLE + 100}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with Balancer("--idle-timeout", "300s") as balancer:
        balancer.settled(3)
        # What is allocated once is not a connection's.
        for _ in range(100):
            assert balancer.ask("GET", "/home")[0] == 200
        before = _server.resident(balancer.process)
        conns = [socket.create_connection(balancer.http, timeout=30) for _ in range(IDLE)]
        for first in range(0, IDLE, 100):
            some = conns[first : first + 100]
            for conn in some:
                conn.sendall(GET)
            for conn in some:
                assert conn.recv(65536).startswith(b"HTTP/1.1 200 ")
        until(lambda: balancer.metric("balancer_clients") >= IDLE, "all connections are there")
        each = (_server.resident(balancer.process) - before) / IDLE
        print(f"    {each:.0f} bytes each of {IDLE} idle connections, {before >> 20} MiB without them")
        assert each < BYTES_EACH_MAX, each
        # All of them still serve.
        for conn in conns[:: IDLE // 100]:
            conn.sendall(GET)
            assert conn.recv(65536).startswith(b"HTTP/1.1 200 ")
        for conn in conns:
            conn.close()


def heartbeats(connection, request):
    if request.path == "/heartbeat":
        return connection.respond(http.HTTPStatus.OK, "")
    return None


def echo(connection):
    for message in connection:
        if message == "leave":
            connection.close(4001, "as you wish")
            return
        connection.send(message)


def test_websockets_pass_through():
    with websockets.sync.server.serve(echo, "127.0.0.1", 0, process_request=heartbeats, max_size=None) as replica:
        threading.Thread(target=replica.serve_forever, daemon=True).start()
        at = "127.0.0.1:%d" % replica.socket.getsockname()[1]
        # A replica in Python that is busy with megabytes may be late with a heartbeat, and would be taken for dead.
        patient = ["--heartbeat-interval", "30s"]
        with Balancer("--driver", "static", "--replicas", "1", "--replica-address", at, *patient) as balancer:
            balancer.settled(1)
            where = "ws://%s:%d/chat" % balancer.http

            def chat(number):
                with websockets.sync.client.connect(where, max_size=None) as socket:
                    for turn in range(20):
                        socket.send(f"{number} says {turn}")
                        assert socket.recv(timeout=30) == f"{number} says {turn}"
                    socket.send(MEGABYTE)
                    assert socket.recv(timeout=30) == MEGABYTE
                    assert socket.ping().wait(30)
                    socket.send("leave")
                    try:
                        socket.recv(timeout=30)
                    except websockets.exceptions.ConnectionClosed as closed:
                        assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "as you wish"), closed
                    else:
                        raise AssertionError("it was to be closed")

            with concurrent.futures.ThreadPoolExecutor(CHATS) as pool:
                list(pool.map(chat, range(CHATS)))
            until(lambda: balancer.metric("balancer_in_flight") == 0, "nothing is in flight any more")


if __name__ == "__main__":
    _server.run(sys.modules[__name__])
