"""The control interface as other programs use it: words, statuses, and additions that are taken back."""

import asyncio
import os
import pathlib
import signal
import sys
import tempfile

import _server
from _balancer import Balancer, alive, descendants, until
from balancer_load import Load
from balancer_upgrade import keepers_below

FAILURE = {"status": "failure"}


def refused(answer, words):
    status, body = answer
    assert status == 400 and body == {"message": f"<Error> {words}", **FAILURE}, (status, body, words)


def test_replicas_come_and_go_in_the_words_of_the_contract():
    with Balancer() as balancer:
        assert balancer.ask("GET", "/rep") == (
            200,
            '{"message":{"N":3,"replicas":["Server-1","Server-2","Server-3"]},"status":"successful"}\n',
        )
        assert balancer.ask("GET", "/home")[0] == 200
        status, body = balancer.json("POST", "/add", {"n": 2, "hostnames": ["S5"]})
        assert status == 200 and body["status"] == "successful" and body["message"]["N"] == 5, body
        assert body["message"]["replicas"][:4] == ["Server-1", "Server-2", "Server-3", "S5"]
        made_up = body["message"]["replicas"][4].split("-")
        assert [len(part) for part in made_up] == [6, 3, 3], made_up
        status, body = balancer.json("GET", "/add", {"N": 1, "replicas": ["S6"]})
        assert status == 200 and body["message"]["replicas"][5] == "S6", body
        status, body = balancer.json("DELETE", "/rm", {"n": 4, "hostnames": ["S5", "Server-1"]})
        assert status == 200 and body["message"]["N"] == 2, body
        assert not {"S5", "Server-1"} & set(balancer.names())


def test_what_is_wrong_is_refused_and_changes_nothing():
    with Balancer("--ring", "slots512", "--replicas", "1") as balancer:
        empty = balancer.ask("POST", "/add", b'{"n":1}', {"Content-Type": "text/plain"})
        assert empty == (400, '{"message":"<Error> Payload is empty","status":"failure"}\n'), empty
        add = lambda **body: balancer.json("POST", "/add", body)
        rm = lambda **body: balancer.json("DELETE", "/rm", body)
        refused(add(n=0), "Number of servers to add must be greater than 0")
        refused(add(n=1, hostnames=["a", "b"]), "Length of hostname list is more than newly added instances")
        refused(add(n=2, hostnames=["a", "a"]), "Hostname list contains duplicates")
        refused(add(n=56), "Insufficient slots. Only 55 slots left")
        refused(add(n=1, hostnames=["Server-1"]), "Hostnames `{'Server-1'}` are already in replicas")
        refused(rm(n=0), "Number of servers to delete must be greater than 0")
        refused(rm(n=2), "Number of servers to delete must be less than or equal to number of replicas")
        refused(rm(n=1, hostnames=["a", "b"]), "Length of hostname list is more than removable instances")
        refused(rm(n=1, hostnames=["x"]), "Hostnames `{'x'}` are not in replicas")
        assert balancer.ask("POST", "/rep")[0] == 405
        assert balancer.names() == ["Server-1"]


def test_what_does_not_start_is_taken_back_with_its_reason():
    with Balancer("--replicas", "0", "--replica-command", "/no/such/program {port}") as balancer:
        status, body = balancer.json("POST", "/add", {"n": 2, "hostnames": ["gone"]})
        assert status == 400 and "Server `gone` did not start: it could not be started" in body["message"], body
        assert balancer.names() == []
    with Balancer("--replicas", "0", "--replica-command", "sh -c 'exit 7'") as balancer:
        status, body = balancer.json("POST", "/add", {"n": 1, "hostnames": ["quick"]})
        said = "<Error> Server `quick` did not start: it exited with status 7 before it answered"
        assert (status, body["message"]) == (400, said), body
        assert balancer.names() == []
    with Balancer("--replicas", "0", "--start-timeout", "500ms", "--replica-command", "sleep 1000") as balancer:
        status, body = balancer.json("POST", "/add", {"n": 3, "hostnames": ["mute"]})
        assert status == 400 and body["message"].endswith("did not answer within 0.5 s"), body
        assert balancer.names() == []
        assert balancer.replicas() == {}


# Takes connections, notes what is asked, and says what it is told to: nothing, or an answer.
STAND_IN = """
import socket, sys, threading
port, said, notes = int(sys.argv[1]), sys.argv[2], sys.argv[3]
listener = socket.create_server(("127.0.0.1", port), backlog=64)
def attend(conn):
    with open(notes, "ab") as file:
        file.write(conn.recv(65536).split(b"\\r\\n")[0] + b"\\n")
    if said:
        conn.sendall(said.encode())
        conn.close()
    kept.append(conn)
kept = []
while True:
    threading.Thread(target=attend, args=(listener.accept()[0],), daemon=True).start()
"""


def test_nothing_is_routed_to_what_did_not_start():
    """Under load, additions of programs that are not there, end at once, hang or are unwell: each is taken back whole."""
    with tempfile.TemporaryDirectory() as folder:
        program, notes = pathlib.Path(folder, "replica"), pathlib.Path(folder, "notes")
        pathlib.Path(folder, "stand_in.py").write_text(STAND_IN)

        def become(line):
            program.unlink(missing_ok=True)
            program.write_text(f"#!/bin/sh\n{line}\n")
            program.chmod(0o755)

        become(f'exec {os.path.abspath(sys.argv[1])} replica --port "$1" --id "$2"')
        stand_in = f'exec {sys.executable} {folder}/stand_in.py "$1"'
        unwell = "HTTP/1.1 503 Busy\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n"
        command = f"{program} {{port}} {{id}}"
        # Those that serve must not be found missing on a busy machine: they would be replaced by what does not start.
        patience = ["--start-timeout", "3s", "--max-fail", "20"]
        with Balancer("--replicas", "2", *patience, "--replica-command", command) as balancer:
            balancer.settled(2)
            load, said = Load(balancer.http, 20), []
            processes = set(descendants(balancer.process.pid))

            def add(count=2):
                status, body = balancer.json("POST", "/add", {"n": count, "hostnames": ["S5"]})
                assert status == 400 and body["status"] == "failure", body
                assert "did not start: it " in body["message"], body
                said.append(body["message"])
                assert balancer.names() == ["Server-1", "Server-2"]
                left = lambda: set(alive(descendants(balancer.process.pid))) - processes
                until(lambda: not left(), lambda: f"processes are left: {left()}")

            def add_all():
                program.unlink()
                add()
                become("exit 7")
                add()
                become(f"{stand_in} '' {notes}")
                add()
                become(f"{stand_in} \"$(printf '{unwell}')\" {notes}")
                add()

            asyncio.run(load.run(add_all))
            assert not load.failed, load.failed[:5]
            assert load.done > 100 and len(load.first) == 2, load.first
            for words, message in zip(["No such file", "exited with status 7", "did not answer within 3 s", "within 3 s"], said):
                print(f"    {message}")
                assert words in message, (words, message)
            asked = set(notes.read_bytes().splitlines())
            assert asked == {b"GET /heartbeat HTTP/1.1"}, asked
            _, told = balancer.json("GET", "/distribution", port=balancer.admin)
            assert [each["hostname"] for each in told["replicas"]] == ["Server-1", "Server-2"], told
            # A name that was taken back is free again.
            become(f'exec {os.path.abspath(sys.argv[1])} replica --port "$1" --id "$2"')
            assert balancer.json("POST", "/add", {"n": 1, "hostnames": ["S5"]})[0] == 200


def test_a_dead_replica_is_replaced_under_its_own_name():
    with Balancer("--replicas", "2") as balancer:
        balancer.settled(2)
        before = balancer.replicas()["Server-1"]
        assert balancer.ask("POST", "/kill?hostname=Server-1", port=balancer.admin)[0] == 200
        replaced = lambda: balancer.replicas()["Server-1"]["id"] > before["id"]
        until(replaced, "Server-1 is another process")
        balancer.settled(2)
        assert balancer.names() == ["Server-1", "Server-2"]
        assert balancer.ask("POST", "/kill?hostname=nobody", port=balancer.admin)[0] == 404


def test_more_replicas_than_may_start_at_once_wait_for_room():
    with Balancer("--replicas", "12", "--start-batch", "2") as balancer:
        until(lambda: balancer.ask("GET", "/home")[0] == 200, "an answer")
        status, body = balancer.json("POST", "/add", {"n": 5})
        assert status == 200 and body["message"]["N"] == 17, body
        healthy = lambda: balancer.ask("GET", "/replicas", port=balancer.admin)[1].count('"healthy"')
        until(lambda: healthy() == 17, lambda: f"17 healthy, not {healthy()}")


def test_without_who_keeps_the_replicas_it_ends():
    balancer = Balancer("--replicas", "2")
    balancer.__enter__()
    below = descendants(balancer.process.pid)
    [keeper] = keepers_below(below) - {balancer.process.pid}
    os.kill(keeper, signal.SIGKILL)
    assert balancer.process.wait(timeout=60) == 3, "it says that the machine took something from it"
    until(lambda: not alive(below), f"processes are left: {alive(below)}")


def test_only_the_paths_that_are_ours_are_ours():
    with Balancer("--replicas", "1", "--classic", "off") as balancer:
        for path in ["/rep", "/metrics", "/admin", "/"]:
            status, body = balancer.json("GET", path)
            assert (status, body["status"]) == (404, "failure"), (path, body)
        assert balancer.json("GET", "/rep", port=balancer.admin)[1]["message"]["N"] == 1
        assert balancer.ask("GET", "/healthz", port=balancer.admin) == (200, "ok\n")
        assert balancer.ask("GET", "/nothing", port=balancer.admin)[0] == 404
        assert "<title>balancer" in balancer.ask("GET", "/", port=balancer.admin)[1]
        status, body = balancer.json("GET", "/explain?key=123456", port=balancer.admin)
        assert status == 200 and list(body) == ["key", "candidates", "chosen", "why"], body
        assert body["chosen"] == "Server-1"


if __name__ == "__main__":
    _server.run(sys.modules[__name__])
