"""A balancer that is reconfigured, reloaded and replaced by a new program while clients ask it: nobody may notice.

And whichever process of it is killed with SIGKILL, at whatever moment of an upgrade: nothing is left behind.
RECONFIGURATIONS and UPGRADES in the environment say how many; a tenth of the full count is the default.
"""

import asyncio
import os
import random
import signal
import sys
import tempfile
import threading
import time

import _server
from _balancer import Balancer, alive, command_of, descendants, until
from balancer_load import Load

RECONFIGURATIONS = int(os.environ.get("RECONFIGURATIONS", "10"))
UPGRADES = int(os.environ.get("UPGRADES", "2"))
KILLED_UPGRADES = int(os.environ.get("KILLED_UPGRADES", "6"))


class Lines(threading.Thread):
    """READY lines of all processes that one balancer becomes."""

    def __init__(self, stream):
        super().__init__(daemon=True)
        self.stream, self.pids = stream, []
        self.start()

    def run(self):
        for line in self.stream:
            if line.startswith("READY balancer "):
                self.pids.append(int(line.rsplit("pid=", 1)[1]))


def parent(pid):
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rsplit(")", 1)[1].split()[1])


def upgrade(balancer, lines, pid):
    """Lets process `pid` be replaced; gives the id of the next one, once the old one is gone."""
    count = len(lines.pids)
    os.kill(pid, signal.SIGUSR2)
    until(lambda: len(lines.pids) > count, "the new program says READY")
    until(lambda: not alive([pid]), "the old program ends")
    return lines.pids[-1]


def test_upgrades_under_load_cost_no_request_and_replicas_live_on():
    with Balancer("--replicas", "3", "--drain-timeout", "10s") as balancer:
        balancer.settled(3)
        lines, load = Lines(balancer.process.stdout), Load(balancer.http, 50)
        pids = [balancer.process.pid]
        replicas = sorted(balancer.child_pids().values())
        statuses = []

        def run():
            for _ in range(UPGRADES):
                time.sleep(0.3)
                pids.append(upgrade(balancer, lines, pids[-1]))
                assert alive(replicas) == replicas, "replicas live through it"
                assert balancer.names() == ["Server-1", "Server-2", "Server-3"]
                balancer.settled(3)
            statuses.append(balancer.process.wait(timeout=30))

        try:
            asyncio.run(load.run(run))
            print(f"    {UPGRADES} upgrades, {load.done} requests, {len(load.failed)} failed")
            assert not load.failed, load.failed[:5]
            assert statuses == [0], "the old program drains and ends well"
            assert load.done > 100
            # The one that took over is as good as the first: it replaces and removes what it did not start.
            os.kill(replicas[0], signal.SIGKILL)
            until(lambda: not alive(replicas[:1]), "it ends")
            balancer.settled(3)
            status, body = balancer.json("DELETE", "/rm", {"n": 1, "hostnames": ["Server-3"]})
            assert status == 200 and body["message"]["replicas"] == ["Server-1", "Server-2"], body
            status, body = balancer.json("POST", "/add", {"n": 1, "hostnames": ["S9"]})
            assert status == 200 and body["message"]["replicas"][-1] == "S9", body
        finally:
            everything = list(keepers_below(replicas)) + replicas
            os.kill(pids[-1], signal.SIGTERM)
            until(lambda: not alive([pids[-1]]), "the last one ends")
        until(lambda: not alive(everything), f"processes are left: {alive(everything)}")


def keepers_below(replicas):
    """Keepers that own these replicas."""
    return {parent(pid) for pid in alive(replicas)} - {1}


def test_reconfigurations_under_load_cost_no_request():
    with Balancer("--replicas", "3", "--drain-timeout", "10s") as balancer:
        balancer.settled(3)
        load, names = Load(balancer.http, 50), []

        def run():
            for number in range(RECONFIGURATIONS):
                if len(balancer.names()) < 6 and (random.random() < 0.5 or len(balancer.names()) < 3):
                    status, body = balancer.json("POST", "/add", {"n": 1, "hostnames": [f"R{number}"]})
                else:
                    status, body = balancer.json("DELETE", "/rm", {"n": 1})
                assert status == 200, body
                names.append(body["message"]["N"])

        asyncio.run(load.run(run))
        print(f"    {RECONFIGURATIONS} reconfigurations, {load.done} requests, {len(load.failed)} failed")
        assert not load.failed, load.failed[:5]


def test_the_control_interface_answers_through_an_upgrade():
    """Who asks to add while another program takes over is answered by one of the two, and is heeded by the next."""
    with Balancer("--replicas", "2") as balancer:
        balancer.settled(2)
        lines, stop, told = Lines(balancer.process.stdout), threading.Event(), []
        first = balancer.process.pid

        def ask():
            number = 0
            while not stop.is_set():
                number += 1
                told.append(balancer.json("POST", "/add", {"n": 1, "hostnames": [f"A{number}"]}))
                told.append(balancer.json("DELETE", "/rm", {"n": 1, "hostnames": [f"A{number}"]}))

        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.2)
        replicas = sorted(balancer.child_pids().values())
        last = upgrade(balancer, lines, first)
        stop.set()
        asking.join()
        wrong = [each for each in told if each[0] != 200]
        assert not wrong and len(told) >= 2, wrong[:3]
        assert balancer.names() == ["Server-1", "Server-2"]
        owners = keepers_below(replicas)
        os.kill(last, signal.SIGTERM)
        until(lambda: not alive([last, *owners]), "all end")


def test_a_new_program_that_does_not_start_changes_nothing():
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write("replicas = 2\n")
        file.flush()
        with Balancer("--config", file.name) as balancer:
            balancer.settled(2)
            replicas = balancer.child_pids()
            load = Load(balancer.http, 10)

            def run():
                file.write("nonsense = true\n")
                file.flush()
                os.kill(balancer.process.pid, signal.SIGUSR2)
                time.sleep(1.5)
                assert balancer.process.poll() is None
                assert balancer.child_pids() == replicas
                programs = [pid for pid in descendants(balancer.process.pid) if "serve" in command_of(pid)]
                assert set(programs) == keepers_below(replicas.values()), "the other is gone, and no zombie"

            asyncio.run(load.run(run))
            assert not load.failed, load.failed[:5]
            status, body = balancer.json("POST", "/add", {"n": 1, "hostnames": ["S5"]})
            assert status == 200, body


def test_killed_at_any_moment_of_an_upgrade_nothing_is_left():
    """The old program, the new one or the keeper, some milliseconds into an upgrade; then all that is left is ended."""
    for number in range(KILLED_UPGRADES):
        victim = ["old", "new", "keeper"][number % 3]
        wait = random.uniform(0, 0.15)
        balancer = Balancer("--replicas", "2", "--drain-timeout", "1s")
        balancer.__enter__()
        first = balancer.process.pid
        balancer.settled(2)
        lines = Lines(balancer.process.stdout)
        replicas = sorted(balancer.child_pids().values())
        (keeper,) = keepers_below(replicas)
        os.kill(first, signal.SIGUSR2)
        time.sleep(wait)
        programs = [first, *(pid for pid in descendants(first) if "serve" in command_of(pid) and pid != keeper)]
        chosen = {"old": first, "new": programs[-1], "keeper": keeper}[victim]
        seen = set(programs) | set(replicas) | {keeper}
        try:
            os.kill(chosen, signal.SIGKILL)
        except ProcessLookupError:
            pass
        # Whoever is left serves, or ends by itself; then it is ended.
        end = time.monotonic() + 3
        while time.monotonic() < end:
            seen |= set(lines.pids)
            for pid in list(seen):
                seen |= set(descendants(pid))
            time.sleep(0.05)
        for pid in alive([pid for pid in seen if "serve" in command_of(pid) and pid != keeper]):
            os.kill(pid, signal.SIGKILL)
        until(lambda: balancer.process.poll() is not None, "the first program is reaped")
        until(lambda: not alive(seen), f"{victim} killed after {wait:.3f} s; left: {[(p, command_of(p)) for p in alive(seen)]}")


def test_a_reload_changes_what_may_change_and_says_what_may_not():
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write('key = "path"\nring = "rendezvous"\nqueue-timeout = "5s"\n')
        file.flush()
        with Balancer("--config", file.name) as balancer:
            balancer.settled(3)
            file.seek(0)
            file.truncate()
            file.write('key = "path"\nring = "slots512"\nslots512-pair = 1\nreplicas = 7\ndocker-port = 99\n')
            file.flush()
            status, body = balancer.json("POST", "/reload", port=balancer.admin)
            held = body["message"]["held_back"]
            assert status == 200 and len(held) == 2, body
            assert "docker-port stays 5000" in held[0] and "7 is asked for" in held[1], held
            _, told = balancer.json("GET", "/replicas", port=balancer.admin)
            assert told["ring"] == "slots512, pair 1" and len(told["replicas"]) == 3, told
            for each in range(20):
                assert balancer.ask("GET", f"/home?{each}")[0] == 200
            # By the signal it is the same; and what is wrong changes nothing.
            file.seek(0)
            file.truncate()
            file.write('ring = "maglev"\n')
            file.flush()
            os.kill(balancer.process.pid, signal.SIGHUP)
            until(lambda: balancer.json("GET", "/replicas", port=balancer.admin)[1]["ring"] == "maglev", "it is heard")
            file.write('prot = 7\n')
            file.flush()
            status, body = balancer.json("POST", "/reload", port=balancer.admin)
            assert status == 400 and 'there is no option "prot"' in body["message"], body
            assert balancer.ask("GET", "/home")[0] == 200


if __name__ == "__main__":
    _server.run(sys.modules[__name__])
