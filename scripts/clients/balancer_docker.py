"""The driver of containers against a real Docker Engine: lives, refusals, kills, and what is left of them.

The engine is one of our own; see `_engine`. How many containers are killed under load is told by RINGWISE_KILLS.
"""

import asyncio
import json
import os
import pathlib
import random
import signal
import sys
import time

import _server
from _balancer import Balancer, descendants, until
from _engine import Engine
from balancer_load import Load

KILLS = int(os.environ.get("RINGWISE_KILLS", "4"))
PROFILE = pathlib.Path(__file__).resolve().parents[1] / "container/seccomp.json"
LABEL = "ringwise.balancer=ringwise"
# As engines from 25 on have it, in what concerns us.
NO_RING = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        {
            "names": ["io_uring_setup", "io_uring_enter", "io_uring_register"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 1,
        }
    ],
}
engine = None


def beside(*options, profile=PROFILE):
    return Balancer("--driver", "docker", "--docker-socket", engine.socket, "--docker-seccomp", str(profile), *options)


def process_of(name):
    """The container's process, as this machine counts it; none while there is no container."""
    return engine.ask("GET", f"/containers/{name}/json")[1].get("State", {}).get("Pid", 0)


def test_containers_come_and_go():
    with beside("--replicas", "2") as balancer:
        balancer.settled(2)
        assert engine.names(LABEL) == ["Server-1", "Server-2"]
        assert "ringwise" in engine.networks()
        told = engine.ask("GET", "/containers/Server-1/json")[1]
        assert told["Config"]["Hostname"] == "Server-1" and "ringwise" in told["NetworkSettings"]["Networks"], told
        status, body = balancer.json("POST", "/add", {"n": 2, "hostnames": ["S5", "S6"]})
        assert status == 200 and body["message"]["replicas"] == ["Server-1", "Server-2", "S5", "S6"], body
        assert engine.names(LABEL) == ["S5", "S6", "Server-1", "Server-2"]
        heard = {balancer.ask("GET", "/home")[1] for _ in range(200)}
        assert len(heard) == 4, heard
        status, body = balancer.json("DELETE", "/rm", {"n": 2, "hostnames": ["Server-1", "S6"]})
        assert status == 200 and body["message"]["replicas"] == ["Server-2", "S5"], body
        until(lambda: engine.names() == ["S5", "Server-2"], "removed containers are gone")
        assert balancer.ask("POST", "/kill?hostname=S5", port=balancer.admin)[0] == 200
        balancer.settled(2)
        assert balancer.names() == ["Server-2", "S5"]
    assert engine.names() == [] and "ringwise" not in engine.networks()


def test_what_does_not_start_is_taken_back_with_its_reason():
    engine.variant("wrong", "ringwise-replica", "replica", "--port", "nonsense")
    engine.variant("mute", "ringwise-replica", "replica", "--port", "7")
    for image, wait, said in [
        ("nowhere", "20s", "No such image: nowhere"),
        ("wrong", "20s", "exited with status 2"),
        ("mute", "3s", "did not answer within 3 s"),
    ]:
        with beside("--replicas", "0", "--docker-image", image, "--start-timeout", wait) as balancer:
            status, body = balancer.json("POST", "/add", {"n": 2, "hostnames": ["S5"]})
            print(f"    {body['message']}")
            assert status == 400 and said in body["message"] and "did not start" in body["message"], body
            assert balancer.names() == []
            until(lambda: engine.names() == [], f"nothing is left: {engine.names()}")


def test_a_container_that_is_not_ours_stays():
    status, told = engine.ask("POST", "/containers/create?name=S5", {"Image": "ringwise-replica"})
    assert status == 201, told
    with beside("--replicas", "1") as balancer:
        balancer.settled(1)
        status, body = balancer.json("POST", "/add", {"n": 1, "hostnames": ["S5"]})
        assert status == 400 and "there is a container S5 that is not of network ringwise" in body["message"], body
        assert engine.names() == ["S5", "Server-1"]
    assert engine.names() == ["S5"]
    engine.ask("DELETE", "/containers/S5")


def test_two_balancers_leave_each_other_alone():
    with beside("--replicas", "1") as first:
        first.settled(1)
        before = engine.containers(LABEL)[0]["Id"]
        with beside("--replicas", "0", "--docker-network", "other") as second:
            assert second.json("POST", "/add", {"n": 1, "hostnames": ["S7"]})[0] == 200
            assert engine.names() == ["S7", "Server-1"]
        assert [each["Id"] for each in engine.containers()] == [before]


def test_killed_it_leaves_no_container():
    with beside("--replicas", "3") as balancer:
        balancer.settled(3)
        os.kill(balancer.process.pid, signal.SIGKILL)
        balancer.process.wait()
        begun = time.monotonic()
        until(lambda: engine.names() == [], f"containers are left: {engine.names()}")
        print(f"    gone {time.monotonic() - begun:.2f} s after the balancer")
        until(lambda: "ringwise" not in engine.networks(), "the network is gone too")


def test_what_is_left_when_the_keeper_is_killed_too_goes_at_the_next_start():
    with beside("--replicas", "2") as balancer:
        balancer.settled(2)
        left = {each["Id"] for each in engine.containers(LABEL)}
        for pid in [balancer.process.pid, *descendants(balancer.process.pid)]:
            os.kill(pid, signal.SIGKILL)
        balancer.process.wait()
        assert engine.names() == ["Server-1", "Server-2"]
        with beside("--replicas", "2") as again:
            again.settled(2)
            assert engine.names() == ["Server-1", "Server-2"]
            assert not left & {each["Id"] for each in engine.containers()}
    assert engine.names() == []


def test_sweep_removes_what_is_left():
    engine.ask("POST", "/networks/create", {"Name": "ringwise", "Labels": {"ringwise.balancer": "ringwise"}})
    value = {"Image": "ringwise-replica", "Labels": {"ringwise.balancer": "ringwise"}}
    assert engine.ask("POST", "/containers/create?name=old", value)[0] == 201
    assert engine.ask("POST", "/containers/create?name=other", {"Image": "ringwise-replica"})[0] == 201
    status, said = engine.run(sys.argv[1], "sweep", "--docker-socket", engine.socket)
    assert (status, said) == (0, "1 containers and 1 networks removed\n"), said
    assert engine.names() == ["other"]
    engine.ask("DELETE", "/containers/other")
    status, said = engine.run(sys.argv[1], "sweep", "--docker-socket", "/no/such/socket")
    assert status == 3 and "no Docker Engine answers at /no/such/socket" in said, said


def test_containers_killed_under_load_cost_no_request():
    with beside("--replicas", "3", "--slow-start", "0s") as balancer:
        balancer.settled(3)
        load, gaps = Load(balancer.http, 50), []

        def kill_many():
            time.sleep(0.3)
            for _ in range(KILLS):
                name = random.choice(balancer.names())
                known = set(load.first)
                begun = time.monotonic()
                os.kill(process_of(name), signal.SIGKILL)
                until(lambda: set(load.first) - known, "somebody new answers")
                gaps.append(min(at for body, at in load.first.items() if body not in known) - begun)
                balancer.settled(3)
                time.sleep(0.1)

        asyncio.run(load.run(kill_many))
        gaps.sort()
        print(f"    {KILLS} kills, {load.done} requests, {len(load.failed)} failed")
        print(f"    until the replacement's first answer: p50 {gaps[len(gaps) // 2]:.3f} s, at most {gaps[-1]:.3f} s")
        assert not load.failed, load.failed[:5]
        assert load.done > 1000 and engine.names() == ["Server-1", "Server-2", "Server-3"]


def test_a_container_that_hangs_is_replaced():
    with beside("--replicas", "2", "--heartbeat-interval", "200ms") as balancer:
        balancer.settled(2)
        before = process_of("Server-1")
        os.kill(before, signal.SIGSTOP)
        until(lambda: process_of("Server-1") not in (0, before), "another container has the name")
        balancer.settled(2)


def test_an_engine_that_ends_and_comes_back():
    with beside("--replicas", "2") as balancer:
        balancer.settled(2)
        engine.stop()
        status, body = balancer.json("POST", "/add", {"n": 1, "hostnames": ["S5"]})
        assert status == 400 and "no Docker Engine answers" in body["message"], body
        engine.serve()
        balancer.settled(2)
        assert balancer.ask("GET", "/home")[0] == 200
        assert engine.names() == ["Server-1", "Server-2"]


def test_a_filter_that_forbids_rings_is_told_and_the_shipped_one_allows_them():
    forbidding = pathlib.Path(engine.folder, "no-ring.json")
    forbidding.write_text(json.dumps(NO_RING))
    sentence = "io_uring: forbidden by the filter of a container"
    mend = "--security-opt seccomp=scripts/container/seccomp.json"
    with beside("--replicas", "0", profile=forbidding) as balancer:
        status, body = balancer.json("POST", "/add", {"n": 1, "hostnames": ["S5"]})
        assert status == 400 and "exited with status 3" in body["message"] and sentence in body["message"], body
    common = ["run", "--rm", "--network", "none", "--security-opt"]
    for command, needed in [("doctor", 3), ("serve", 3)]:
        status, said = engine.docker(*common, f"seccomp={forbidding}", "ringwise-balancer", command)
        assert status == needed and sentence in said and mend in said, (status, said)
    status, said = engine.docker(*common, f"seccomp={PROFILE}", "ringwise-balancer", "doctor")
    assert "ok    io_uring: allowed" in said, said


def test_the_image_of_the_balancer_serves_and_stops():
    assert engine.ask("POST", "/networks/create", {"Name": "front"})[0] == 201
    run = ["run", "--detach", "--name", "front", "--network", "front", "--cap-add", "IPC_LOCK"]
    status, said = engine.docker(*run, "--security-opt", f"seccomp={PROFILE}", "ringwise-balancer")
    assert status == 0, said
    at = engine.ask("GET", "/containers/front/json")[1]["NetworkSettings"]["Networks"]["front"]["IPAddress"]
    asked = Balancer()
    def answered():
        try:
            return asked.ask("GET", "/home", port=(at, 5000))[0] == 200
        except OSError:
            return False
    until(answered, lambda: f"the balancer in the container answers: {engine.docker('logs', 'front')[1]}")
    assert asked.json("GET", "/rep", port=(at, 5000))[1]["message"]["N"] == 3
    status, body = asked.json("POST", "/add", {"n": 1}, port=(at, 5000))
    assert status == 403, (status, body)
    begun = time.monotonic()
    assert engine.docker("stop", "--time", "20", "front")[0] == 0
    assert time.monotonic() - begun < 15, "it ends by itself"
    assert engine.ask("GET", "/containers/front/json")[1]["State"]["ExitCode"] == 0
    engine.ask("DELETE", "/containers/front")
    engine.ask("DELETE", "/networks/front")


if __name__ == "__main__":
    with Engine() as engine:
        engine.image("ringwise-replica", sys.argv[1], "replica")
        engine.image("ringwise-balancer", sys.argv[1], "balancer")
        _server.run(sys.modules[__name__])
