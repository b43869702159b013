"""`dht client` through a pipe, against static nodes: keys lie where clients of the classic table look for them, a node
that is killed is a sentence, and one that is back works again."""

import contextlib
import hashlib
import json
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _server import Server, free_ports, run
from framed import Client

SECONDS_MAX = 60
VECTORS = {"100000": 3, "199999": 1, "200000": 3, "899999": 3, "123456": 6, "abc": 2}


def node_of(key, count):
    return int(hashlib.md5(key.encode()).hexdigest(), 16) % count


class Node(Server):
    """One of the nodes, which may be killed and started again."""

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()
        # The kernel takes a ring's sockets down shortly after the process is gone.
        until = time.monotonic() + SECONDS_MAX
        while True:
            try:
                return socket.create_server(self.frame).close()
            except OSError:
                assert time.monotonic() < until, "its port is never free again"
                time.sleep(0.01)

    def start_again(self):
        self.__enter__()


@contextlib.contextmanager
def table(count, placement="md5-mod", **more):
    """That many nodes on free ports, and the file that lists them."""
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        listed = {str(i): {"ip": "127.0.0.1", "port": port, **more} for i, port in enumerate(free_ports(count))}
        file = Path(folder) / "config.json"
        file.write_text(json.dumps(listed))
        options = ["--nodes", str(file), "--placement", placement, "--log-level", "error"]
        yield file, [stack.enter_context(Node(*options, "--id", str(i))) for i in range(count)]


def pipe(text, *options):
    """What `dht client` says to these lines: status, answers, sentences."""
    done = subprocess.run(
        [sys.argv[1], "client", *options], input=text, capture_output=True, text=True, timeout=SECONDS_MAX
    )
    return done.returncode, done.stdout, done.stderr


class Talk:
    """A `dht client` whose input stays open."""

    def __init__(self, *options):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        self.process = subprocess.Popen([sys.argv[1], "client", *options], text=True, bufsize=1, **pipes)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        return self.process.stdout.readline().rstrip("\n")

    def fail(self, line):
        self.process.stdin.write(line + "\n")
        return self.process.stderr.readline()

    def end(self):
        self.process.stdin.close()
        status = self.process.wait(timeout=SECONDS_MAX)
        self.process.stdout.close()
        self.process.stderr.close()
        return status


def test_keys_lie_where_clients_of_the_classic_table_look():
    with table(8) as (file, nodes):
        lines = "".join(f"put {key} value of {key}\n" for key in VECTORS)
        assert pipe(lines, "--nodes", file) == (0, "SUCCESS\n" * len(VECTORS), "")
        direct = [Client(node.frame) for node in nodes]
        for key, expected in VECTORS.items():
            assert node_of(key, 8) == expected
            for number, client in enumerate(direct):
                value = f"value of {key}" if number == expected else "NONE"
                assert client.ask(f"get {key}".encode()) == value.encode(), (key, number)


def test_a_killed_node_is_a_sentence_and_one_that_is_back_works_again():
    with table(8) as (file, nodes):
        talk = Talk("--nodes", file)
        for key in VECTORS:
            assert talk.ask(f"put {key} {key}") == "SUCCESS"
        nodes[3].kill()
        lost = talk.fail("get 100000")
        assert "node 3 at" in lost and "was lost" in lost, lost
        unreached = talk.fail("get 100000")
        assert "node 3 at" in unreached and "cannot be reached: nobody listens there" in unreached, unreached
        assert talk.ask("get 123456") == "123456"
        nodes[3].start_again()
        assert talk.ask("get 100000") == "NONE"
        assert talk.ask("put 100000 again") == "SUCCESS"
        assert talk.ask("get 100000") == "again"
        assert talk.end() == 1


def test_on_the_ring_any_node_can_be_asked():
    with table(3, "ring", cores=1) as (file, nodes):
        keys = [str(number) for number in range(100000, 100060)]
        clients = [Client(node.frame) for node in nodes]
        for number, key in enumerate(keys):
            assert clients[number % 3].ask(f"put {key} v{key}".encode()) == b"SUCCESS"
        for client in clients:
            client.send(*(f"get {key}".encode() for key in keys))
            assert [client.reply() for _ in keys] == [f"v{key}".encode() for key in keys]
        answers = pipe("".join(f"get {key}\n" for key in keys), "--nodes", file, "--placement", "ring")
        assert answers == (0, "".join(f"v{key}\n" for key in keys), "")
        nodes[1].kill()
        clients[0].send(*(f"get {key}".encode() for key in keys))
        replies = [clients[0].reply() for _ in keys]
        lost = [reply for reply in replies if reply == b"FAILURE node 1 cannot be reached"]
        assert 0 < len(lost) < len(keys), replies
        assert all(reply in lost or reply == f"v{key}".encode() for key, reply in zip(keys, replies))
        nodes[1].start_again()
        assert all(clients[0].ask(f"put {key} w".encode()) == b"SUCCESS" for key in keys)


def test_a_large_value_is_passed_on():
    with table(2, "ring") as (_, nodes):
        value = hashlib.shake_128(b"large").digest(3_000_000)
        for node in nodes:
            client = Client(node.frame)
            for key in ("one", "two", "three", "four"):
                assert client.ask(f"put {key} ".encode() + value) == b"SUCCESS"
                assert client.ask(f"get {key}".encode()) == value


def test_who_speaks_resp_is_told_where_to_go():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        first, second, port = free_ports(3)
        listed = {"0": {"ip": "127.0.0.1", "port": first}, "1": {"ip": "127.0.0.1", "port": second, "resp": port}}
        file.write_text(json.dumps(listed))
        with Node("--nodes", str(file), "--placement", "ring", "--id", "0") as node:
            with socket.create_connection(node.resp, timeout=30) as resp:
                replies = set()
                for number in range(40):
                    resp.sendall(b"SET %d v\r\n" % number)
                    replies.add(re.sub(rb"MOVED \d+", b"MOVED", resp.recv(64)))
            assert replies == {b"+OK\r\n", b"-MOVED 127.0.0.1:%d\r\n" % port}, replies


def test_the_prompt_of_a_server_serves_the_whole_table_and_ends_it():
    with table(2) as (file, [_, second]):
        second.kill()
        words = ["serve", "--port", "0", "--nodes", file, "--id", "1", "--prompt", "--log-level", "error"]
        here, there = (next(str(key) for key in range(1000) if node_of(str(key), 2) == node) for node in (1, 0))
        lines = f"put {here} first\nput {there} second\nget {here}\nget {there}\nexit\n"
        done = subprocess.run([sys.argv[1], *words], input=lines, capture_output=True, text=True, timeout=SECONDS_MAX)
        assert done.returncode == 0, done.stderr
        ready, *answers = done.stdout.splitlines()
        assert ready.startswith("READY dht ")
        assert answers == ["SUCCESS", "SUCCESS", "first", "second"]
        second.start_again()


def test_a_pipe_ends_with_the_status_of_what_went_wrong():
    with Server() as server:
        host, port = server.frame
        here = ["--host", host, "--port", str(port)]
        assert pipe("put k a  b \nget k\ndel k\nget k\nexit\nput never done\n", *here) == (
            0,
            "SUCCESS\na  b \nSUCCESS\nNONE\n",
            "",
        )
        status, answers, said = pipe("jump\nput k\nget k\n", *here)
        assert (status, answers) == (2, "NONE\n") and "jump" in said and "put KEY VALUE" in said
        status, answers, said = pipe("benchmark put 100000 50\nbenchmark get 100000 60\nbenchmark del 100000 50\n", *here)
        put, get, removed = answers.splitlines()
        assert status == 0 and put.startswith("put: 50 operations in ") and put.endswith(" operations/s"), put
        assert get.endswith(", 10 answered NONE") and removed.startswith("del: 50 operations"), answers
    status, answers, said = pipe("benchmark put 100000 5\n", *here)
    assert status == 1 and answers.startswith("put: 0 operations") and answers.endswith(", then a server was lost\n")
    status, answers, said = pipe("get k\n", *here)
    assert (status, answers) == (1, "") and "cannot be reached" in said, said


def test_a_list_that_cannot_be_meant_is_refused_with_status_2():
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        node = {"ip": "127.0.0.1", "port": 5050}
        wrong = {
            "not a list": "EOF",
            json.dumps({"1": node}): "ids 0 to 0",
            json.dumps({"0": node, "1": node}): "both have 127.0.0.1:5050",
            json.dumps({"0": {**node, "port": 5051}}): "--id N",
        }
        for text, words in wrong.items():
            file.write_text("" if text == "not a list" else text)
            command = [sys.argv[1], "serve", "--port", "0", "--nodes", str(file)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX)
            assert done.returncode == 2 and words in done.stderr, (text, done.returncode, done.stderr)


if __name__ == "__main__":
    run(sys.modules[__name__])
