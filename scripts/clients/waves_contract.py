"""A client that knows only the contract's messages, to units on cores and to units that are processes of their own."""

import json
import os
import signal
import sys
import threading
import time

from _server import run
from _waves import WAIT_SECONDS_MAX, Waves, is_alive, kill, message, names, units_of, within

ALL = sorted(f"unit-{index}" for index in range(8))
BOTH = [("--balancer", "none"), ("--balancer", "none", "--processes")]


def each(check):
    for options in BOTH:
        with Waves(*options) as net:
            check(net)


def test_a_unit_says_what_it_is_and_takes_tasks():
    def check(net):
        specs = net.get("/specs", net.ports[1])
        assert list(specs) == ["load", "cpu", "children", "name", "port"], specs
        assert specs["name"] == "unit-1" and specs["port"] == net.ports[1] and specs["load"] == 0, specs
        assert net.get("/add_task", net.ports[1]) == {"status": "ok"}
        assert net.get("/specs", net.ports[1])["load"] == 1
        assert net.ask("POST", f"/rebalance?target={net.ports[2]}", net.ports[1]) == {"status": "ok"}
        assert net.loads()[1:3] == [0, 1]
        assert net.ask("POST", f"/rebalance?target={net.ports[2]}", net.ports[1]) == {"status": "error"}

    each(check)


def test_an_echo_brings_everybody_once():
    def check(net):
        assert names(net.get("/echo")) == ALL
        assert names(net.get("/echo", net.ports[5])) == ALL
        assert net.get("/avg-disbalance") == {"load": 0.0}

    each(check)


def test_results_are_broadcast_one_for_each_wave_also_when_waves_overlap():
    def check(net):
        with net.socket() as one, net.socket() as other:
            for port in net.ports:
                assert net.get(f"/echo_ws?receiver=ws://localhost:{port}/ws")["status"] == "success"
            for socket in (one, other):
                heard = [message(socket) for _ in net.ports]
                assert {each["route"] for each in heard} == {"echo_back"}
                assert all(names(each["payload"]) == ALL for each in heard)
                assert sorted(each["payload"]["port"] for each in heard) == sorted(net.ports)

    each(check)


def test_a_wave_of_finns_gives_everybody_a_task():
    def check(net):
        assert net.get("/finn_ws")["status"] == "success"
        within(lambda: sum(net.loads()) == 8, "the sum of loads rises by eight")
        assert net.loads() == [1] * 8

    each(check)


def test_a_client_at_a_units_socket_asks_for_an_echo_and_gets_its_tree():
    def check(net):
        with net.socket(net.ports[3]) as socket:
            for _ in range(3):
                socket.send(json.dumps({"route": "echo", "purpose": "status"}))
            for _ in range(3):
                told = message(socket)
                assert told["route"] == "echo_back" and names(told["payload"]) == ALL, told
                assert told["payload"]["name"] == "unit-3", told

    each(check)


def test_nonsense_at_a_socket_costs_nobody_anything():
    def check(net):
        with net.socket(net.ports[0]) as socket:
            for nonsense in ["", "{", "[]", "7", '{"route":7}', '{"route":"echo_back","payload":{"port":-1}}']:
                socket.send(nonsense)
            for nonsense in [b"", b"RWT1", b"RWT1" + bytes(40), bytes(range(256)) * 8]:
                socket.send(nonsense)
        for sender in net.ports:
            with net.socket(net.ports[0]) as socket:
                told = {"route": "echo_back", "sender": sender, "payload": {"port": sender}, "wave": "9.9"}
                socket.send(json.dumps(told))
        assert names(net.get("/echo")) == ALL

    each(check)


def test_tasks_are_balanced_by_waves():
    for more in [(), ("--processes",)]:
        with Waves("--settings", settings(), *more) as net:
            for _ in range(12):
                net.get("/add_task", net.ports[0])
            within(lambda: max(net.loads()) <= 4, "no unit keeps more than it should")
            assert sum(net.loads()) == 12


def settings():
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"ringwise-waves-{os.getpid()}.json")
    with open(path, "w") as file:
        json.dump({"max_cpu": 75, "task_time": 600, "rebalance_interval": 0.2}, file)
    return path


def test_each_unit_is_a_process_and_one_that_is_killed_is_missed_and_comes_back():
    with Waves("--balancer", "none", "--processes", "--edge-timeout", "300ms") as net:
        units = units_of(net.process.pid)
        assert len(units) == 8, units
        victim = next(pid for pid in units if listens(pid, net.ports[7]))
        with net.socket() as socket:
            # Stopped, it is silent; a wave over it ends all the same and lacks it.
            os.kill(victim, signal.SIGSTOP)
            net.get("/echo_ws")
            told = message(socket)
            assert names(told["payload"]) == [name for name in ALL if name != "unit-7"], told
            os.kill(victim, signal.SIGCONT)
            threading.Timer(0.01, kill, [victim]).start()
            for _ in range(20):
                net.get("/echo_ws")
            heard = [names(message(socket)["payload"]) for _ in range(20)]
        assert all(len(set(each)) == len(each) and set(each) <= set(ALL) for each in heard), heard
        within(lambda: not is_alive(victim), "it was killed")
        within(lambda: names(net.get("/echo")) == [n for n in ALL if n != "unit-7"], "it is known to be dead")
        assert net.ask("POST", f"/revive?unit={net.ports[7]}") == {"status": "ok"}
        within(lambda: names(net.get("/echo")) == ALL, "it is there again")
        assert net.ask("POST", f"/kill?unit={net.ports[6]}") == {"status": "ok"}
        within(lambda: len(units_of(net.process.pid)) == 7, "its process is gone")


def listens(pid, port):
    wanted = f"{port:04X}"
    inodes = [line.split()[9] for line in open("/proc/net/tcp") if line.split()[1].endswith(f":{wanted}")]
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}")
        except OSError:
            continue
        if any(target == f"socket:[{inode}]" for inode in inodes):
            return True
    return False


def test_nothing_is_left_when_it_is_killed():
    with Waves("--processes") as net:
        units = units_of(net.process.pid)
        assert len(units) == 8, units
        kill(net.process.pid)
        net.process.wait()
        within(lambda: not any(map(is_alive, units)), "units end with who started them")


def test_a_second_interrupt_is_not_needed():
    with Waves("--processes") as net:
        net.process.send_signal(signal.SIGINT)
        assert net.process.wait(WAIT_SECONDS_MAX) == 0


def test_an_idle_network_uses_no_processor():
    with Waves("--family", "grid", "--units", "400", "--unit-ports", "8") as net:
        def ticks():
            return sum(map(int, open(f"/proc/{net.process.pid}/stat").read().rsplit(")", 1)[1].split()[11:13]))

        time.sleep(1)
        before = ticks()
        time.sleep(10)
        spent = (ticks() - before) / os.sysconf("SC_CLK_TCK")
        print(f"      idle: {spent:.2f} s of processor time in 10 s")
        # A tick of the kernel's count is a thousandth of these ten seconds: one may fall on us by chance.
        assert spent <= 0.02, spent


if __name__ == "__main__":
    run(sys.modules[__name__])
