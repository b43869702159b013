"""Two thousand who send a head a byte at a time (slowloris), and as many who never read: others are served meanwhile,
the slow are told 408, and the server's memory stays what it was."""

import resource
import selectors
import socket
import sys
import threading

from _server import Server, resident, run

SLOW = 2000
# Bytes that each of those who never read asks for: pages of some twenty kilobytes.
ASKED = b"GET /kit.js HTTP/1.1\r\nHost: x\r\n\r\n"
DEADLINE_SECONDS = 60


def descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert hard >= 2 * SLOW, f"this test needs {2 * SLOW} descriptors; ulimit -n says {hard}"


def healthy(address):
    """Whether a client that behaves is answered at once on a connection of its own."""
    with socket.create_connection(address, timeout=5) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        said = b""
        while part := client.recv(4096):
            said += part
        return said.endswith(b"\r\n\r\nok\n")


def test_the_slow_are_told_and_others_do_not_wait():
    descriptors()
    with Server() as server:
        address = server_address(server)
        before = resident(server.process)
        slow = [socket.create_connection(address, timeout=DEADLINE_SECONDS) for _ in range(SLOW)]
        for each in slow:
            each.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        stop = threading.Event()

        def drip():
            while not stop.wait(1):
                for each in slow:
                    try:
                        each.send(b"x")
                    except OSError:
                        pass

        dripper = threading.Thread(target=drip)
        dripper.start()
        served, answers = 0, {}
        selector = selectors.DefaultSelector()
        for each in slow:
            selector.register(each, selectors.EVENT_READ)
        try:
            while len(answers) < SLOW:
                assert healthy(address), "who behaves is served"
                served += 1
                for key, _ in selector.select(timeout=DEADLINE_SECONDS):
                    part = key.fileobj.recv(4096)
                    answers[key.fileobj] = answers.get(key.fileobj, b"") + part
                    selector.unregister(key.fileobj)
                    if len(answers) % 100 == 0:
                        assert healthy(address)
                        served += 1
                assert resident(server.process) - before < 64 << 20, "two thousand heads are not much"
        finally:
            stop.set()
            dripper.join()
        told = sum(said.startswith(b"HTTP/1.1 408 Request Timeout\r\n") for said in answers.values())
        assert told == SLOW, f"{told} of {SLOW} were told 408"
        assert served > 1 and healthy(address)
        for each in slow:
            each.close()


def test_who_never_reads_costs_a_bounded_amount():
    descriptors()
    with Server() as server:
        address = server_address(server)
        before = resident(server.process)
        deaf = []
        for _ in range(200):
            client = socket.create_connection(address, timeout=DEADLINE_SECONDS)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            deaf.append(client)
        for _ in range(50):
            for client in deaf:
                try:
                    client.send(ASKED * 20)
                except (BlockingIOError, ConnectionResetError, BrokenPipeError):
                    pass
            assert healthy(address), "who behaves is served"
        grown = resident(server.process) - before
        assert grown < 200 << 20, f"{grown >> 20} MiB for 200 who read nothing"
        for client in deaf:
            client.close()
        assert healthy(address)


def server_address(server):
    host, port = server.keys["metrics"].rsplit(":", 1)
    return host, int(port)


if __name__ == "__main__":
    run(sys.modules[__name__])
