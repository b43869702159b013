"""Ten thousand requests at once, over two to six replicas, by every ring; and replicas killed under load.

None may fail: a request that is lost with its replica is tried elsewhere, and what no replica can take yet waits.
"""

import asyncio
import json
import os
import pathlib
import random
import resource
import signal
import sys
import time

import _server
from _balancer import Balancer, until

ROOT = pathlib.Path(__file__).resolve().parents[2]
AT_ONCE = 10_000
RINGS = [
    ["--ring", "rendezvous"],
    ["--ring", "maglev"],
    ["--ring", "p2c"],
    ["--ring", "slots512", "--slots512-pair", "0"],
    ["--ring", "slots512", "--slots512-pair", "1"],
    ["--ring", "slots512", "--slots512-pair", "2"],
]
KILLS = 20
REQUEST = b"GET /home HTTP/1.1\r\nHost: test\r\n\r\n"


def raise_limit():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    assert hard >= AT_ONCE + 100, f"{hard} open files are too few: ulimit -n {AT_ONCE + 100}"


async def answer(reader):
    """One answer: its status and body."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    body = await reader.readexactly(int(length.split(b":")[1]))
    return int(head.split()[1]), body



async def one(where, gate):
    """Connects, waits for all others, asks once."""
    for wait in (0.1, 0.3, 1, 3):
        try:
            reader, writer = await asyncio.open_connection(*where)
            break
        except OSError:
            await asyncio.sleep(wait)
    await gate.wait()
    writer.write(REQUEST)
    try:
        return await asyncio.wait_for(answer(reader), 60)
    finally:
        writer.close()


async def all_at_once(where, count):
    gate = asyncio.Barrier(count)
    return await asyncio.gather(*(one(where, gate) for _ in range(count)), return_exceptions=True)


def shares(balancer):
    _, told = balancer.json("GET", "/distribution", port=balancer.admin)
    return {each["hostname"]: each for each in told["replicas"]}


def test_ten_thousand_at_once_over_every_ring():
    raise_limit()
    for ring in RINGS:
        with Balancer("--replicas", "2", *ring) as balancer:
            balancer.settled(2)
            for replicas in range(2, 7):
                if replicas > 2:
                    assert balancer.json("POST", "/add", {"n": 1})[0] == 200
                before = shares(balancer)
                answers = asyncio.run(all_at_once(balancer.http, AT_ONCE))
                lost = [each for each in answers if isinstance(each, Exception) or each[0] != 200]
                assert not lost, f"{ring} {replicas}: {len(lost)} failed, such as {lost[:3]}"
                after = shares(balancer)
                seen = {name: each["requests"] - before[name]["requests"] for name, each in after.items()}
                assert sum(seen.values()) == AT_ONCE, seen
                assert abs(sum(each["ideal"] for each in after.values()) - 1) < 1e-3, after
                told = " ".join(f"{seen[name] / AT_ONCE:.3f}({after[name]['ideal']:.3f})" for name in after)
                print(f"    {' '.join(ring)} N={replicas}: {told}")


def test_first_replicas_have_the_shares_that_others_know():
    """Names, indices and shares of the classic ring are as in its golden tables, whoever answers first."""
    known = json.loads((ROOT / "systems/balancer/tests/golden/slots512.json").read_text())
    for pair in range(3):
        for count in range(2, 5):
            ring = ["--ring", "slots512", "--slots512-pair", str(pair)]
            with Balancer("--replicas", str(count), *ring) as balancer:
                balancer.settled(count)
                expected = known[f"pair{pair}_N{count}"]["share"]
                found = {name: each["ideal"] for name, each in shares(balancer).items()}
                assert list(found) == list(expected), (found, expected)
                for name, share in expected.items():
                    assert abs(found[name] - share) < 2e-5, (pair, count, found, expected)


def test_one_after_another_shares_are_those_of_the_ring():
    """Without a crowd no bound moves anything: each replica gets what its ring gives it."""
    for ring in RINGS:
        with Balancer("--replicas", "3", *ring) as balancer:
            balancer.settled(3)
            count = 2000
            asyncio.run(in_a_row(balancer.http, count))
            for name, each in shares(balancer).items():
                allowed = 5 * (each["ideal"] * (1 - each["ideal"]) / count) ** 0.5
                assert abs(each["share"] - each["ideal"]) <= allowed, f"{ring}: {name} {each}"


async def in_a_row(where, count):
    reader, writer = await asyncio.open_connection(*where)
    for _ in range(count):
        writer.write(REQUEST)
        status, _ = await answer(reader)
        assert status == 200
    writer.close()


async def answer_and_end(reader):
    """One answer, and whether it says that the connection ends with it."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    body = await reader.readexactly(int(length.split(b":")[1]))
    return int(head.split()[1]), body, b"connection: close" in head.lower()


class Load:
    """Connections that ask again and again until told to stop; new ones where an answer says that its own ends."""

    def __init__(self, where, connections):
        self.where, self.connections = where, connections
        self.running, self.done, self.failed = True, 0, []
        # When each body was first heard: replicas say who they are.
        self.first = {}

    async def ask(self):
        reader, writer = await asyncio.open_connection(*self.where)
        while self.running:
            writer.write(REQUEST)
            try:
                status, body, ends = await asyncio.wait_for(answer_and_end(reader), 30)
            except Exception as wrong:
                self.failed.append(repr(wrong))
                reader, writer = await asyncio.open_connection(*self.where)
                continue
            self.done += 1
            if body not in self.first:
                self.first[body] = time.monotonic()
            if status != 200:
                self.failed.append((status, body))
            if ends:
                writer.close()
                reader, writer = await asyncio.open_connection(*self.where)
        writer.close()

    async def run(self, until_done):
        asking = [asyncio.create_task(self.ask()) for _ in range(self.connections)]
        try:
            await asyncio.to_thread(until_done)
        finally:
            self.running = False
            await asyncio.gather(*asking)


def test_replicas_killed_under_load_cost_no_request():
    with Balancer("--replicas", "3", "--slow-start", "0s") as balancer:
        balancer.settled(3)
        load, gaps = Load(balancer.http, 100), []

        def kill_many():
            for _ in range(KILLS):
                time.sleep(0.1)
                _, pid = random.choice(sorted(balancer.child_pids().items()))
                ids = {each["id"] for each in balancer.replicas().values()}
                begun = time.monotonic()
                os.kill(pid, signal.SIGKILL)
                def replaced():
                    told = balancer.replicas().values()
                    return {each["id"] for each in told} != ids and all(e["state"] == "healthy" for e in told)
                until(replaced, "the killed replica is replaced")
                gaps.append(time.monotonic() - begun)

        asyncio.run(load.run(kill_many))
        gaps.sort()
        print(f"    {KILLS} kills, {load.done} requests, {len(load.failed)} failed, {balancer.metric('balancer_retries_total'):.0f} retried")
        print(f"    from kill to the replacement's first answer: {gaps[len(gaps) // 2]:.3f} s, at most {gaps[-1]:.3f} s")
        assert not load.failed, load.failed[:5]
        assert load.done > 1000
        assert len(balancer.names()) == 3


def test_a_hung_replica_is_found_by_its_heartbeats():
    with Balancer("--replicas", "2", "--heartbeat-interval", "200ms") as balancer:
        balancer.settled(2)
        load = Load(balancer.http, 20)
        ids = {each["id"] for each in balancer.replicas().values()}

        def hang():
            _, pid = sorted(balancer.child_pids().items())[0]
            os.kill(pid, signal.SIGSTOP)
            until(lambda: {each["id"] for each in balancer.replicas().values()} != ids, "it is replaced")
            balancer.settled(2)

        asyncio.run(load.run(hang))
        assert not load.failed, load.failed[:5]


def test_removing_under_load_cuts_nothing():
    with Balancer("--replicas", "4") as balancer:
        balancer.settled(4)
        load = Load(balancer.http, 50)

        def remove():
            for count in (3, 2, 1):
                time.sleep(0.3)
                status, body = balancer.json("DELETE", "/rm", {"n": 1})
                assert status == 200 and body["message"]["N"] == count, body
            until(lambda: len(balancer.child_pids()) == 1, "removed replicas end")

        asyncio.run(load.run(remove))
        assert not load.failed, load.failed[:5]


if __name__ == "__main__":
    _server.run(sys.modules[__name__])
