"""The Python client library of Redis, as its users use it: alone, pipelined, pooled, asynchronous, with locks, at a
core's own port, RESP2 and RESP3.
"""

import asyncio
import sys
import threading
import time

import redis
import redis.asyncio
from redis.exceptions import LockError

from _server import Server, run


def client(server, **options):
    host, port = server.resp
    return redis.Redis(host=host, port=port, socket_timeout=30, **options)


def test_strings():
    with Server() as server:
        r = client(server)
        assert r.ping()
        assert r.set("k", b"\x00\r\n\xff")
        assert r.get("k") == b"\x00\r\n\xff"
        assert r.set("k", "other", nx=True) is None
        assert r.set("k", "new", get=True) == b"\x00\r\n\xff"
        assert r.append("k", "er") == 5
        assert r.strlen("k") == 5
        assert r.getdel("k") == b"newer"
        assert r.setnx("k", "again") and not r.setnx("k", "and again")
        assert r.incr("n", 41) == 41
        assert r.decr("n") == 40
        assert r.delete("k", "n", "missing") == 2
        assert r.get("k") is None


def test_many_keys_over_all_cores():
    with Server() as server:
        r = client(server)
        values = {f"key:{number}": f"value:{number}" for number in range(1000)}
        assert r.mset(values)
        assert r.mget(list(values)) == [value.encode() for value in values.values()]
        assert r.dbsize() == 1000
        assert r.exists(*list(values)[:10]) == 10
        assert r.flushall()
        assert r.dbsize() == 0


def test_a_pipeline_is_answered_in_order():
    with Server() as server:
        pipeline = client(server).pipeline(transaction=False)
        for number in range(2000):
            pipeline.set(f"p{number}", number)
        for number in range(2000):
            pipeline.get(f"p{number}")
        answers = pipeline.execute()
        assert answers[:2000] == [True] * 2000
        assert answers[2000:] == [str(number).encode() for number in range(2000)]


def test_expiry():
    with Server() as server:
        r = client(server)
        assert r.set("short", "lived", px=50)
        assert r.set("long", "lived", ex=100)
        assert 0 < r.ttl("long") <= 100
        assert r.persist("long") and r.ttl("long") == -1
        deadline = time.monotonic() + 30
        while r.get("short") is not None:
            assert time.monotonic() < deadline, "a key of 50 ms is still there after 30 s"
            time.sleep(0.01)


def test_errors_have_the_words_that_clients_match_on():
    with Server() as server:
        r = client(server)
        r.set("word", "not a number")
        for command, words in [
            (("INCR", "word"), "value is not an integer or out of range"),
            (("GET",), "wrong number of arguments for 'get' command"),
            (("NOSUCH", "x"), "unknown command 'NOSUCH'"),
            (("SET", "k", "v", "EX"), "syntax error"),
        ]:
            try:
                answer = r.execute_command(*command)
            except redis.ResponseError as error:
                assert words in str(error), f"{command}: {error}"
            else:
                raise AssertionError(f"{command} answered {answer!r}")


def test_both_versions_of_the_protocol():
    with Server() as server:
        for version in (2, 3):
            r = client(server, protocol=version, client_name="tester")
            assert r.set("k", "v") and r.get("k") == b"v"
            assert r.client_getname() in (b"tester", "tester")
            assert r.info("server")["redis_version"]


def test_every_core_serves_every_key_at_its_own_port():
    with Server() as server:
        cores = [redis.Redis(host=host, port=port, socket_timeout=30) for host, port in server.cores]
        for number in range(500):
            assert cores[number % len(cores)].set(f"c{number}", number)
        for number in range(500):
            assert cores[(number + 1) % len(cores)].get(f"c{number}") == b"%d" % number
        # A core counts its own keys at its own port, as a node of a cluster does.
        assert sum(core.dbsize() for core in cores) == 500 == client(server).dbsize()
        assert sorted(key for core in cores for key in core.scan_iter()) == sorted(client(server).scan_iter())


def test_the_other_string_commands():
    with Server() as server:
        r = client(server)
        assert r.setex("k", 100, "v") and 0 < r.ttl("k") <= 100
        assert r.psetex("k", 100_000, "v") and 0 < r.pttl("k") <= 100_000
        assert r.getset("k", "w") == b"v" and r.ttl("k") == -1
        assert r.getex("k", ex=100) == b"w" and 0 < r.ttl("k") <= 100
        assert r.getex("k", persist=True) == b"w" and r.ttl("k") == -1
        assert r.setrange("k", 3, "xyz") == 6 and r.get("k") == b"w\0\0xyz"
        assert r.getrange("k", -3, -1) == b"xyz"
        assert r.msetnx({"m1": 1, "m2": 2}) and not r.msetnx({"m2": 3, "m3": 3})
        assert r.mget("m1", "m2", "m3") == [b"1", b"2", None]
        assert r.incrby("n", 10) == 10 and r.decrby("n", 3) == 7
        assert r.incrbyfloat("n", 0.5) == 7.5 and r.incrbyfloat("n", "-0.25") == 7.25


def test_keys():
    with Server() as server:
        r = client(server)
        r.mset({f"user:{number}": number for number in range(300)} | {"other": 1})
        expected = sorted(b"user:%d" % number for number in range(300))
        assert sorted(set(r.scan_iter("user:*", count=7))) == expected
        assert sorted(set(r.scan_iter(_type="string"))) == [b"other", *expected]
        assert sorted(r.keys("user:*")) == expected
        assert r.randomkey() in [b"other", *expected]
        assert r.rename("other", "moved") and not r.exists("other")
        assert not r.renamenx("moved", "user:1") and r.renamenx("moved", "other")
        assert (
            r.copy("other", "copied")
            and not r.copy("other", "copied")
            and r.copy("other", "copied", replace=True)
        )
        assert r.touch("other", "copied", "missing") == 2
        assert r.type("other") == b"string" and r.type("missing") == b"none"
        assert r.object("encoding", "other") == b"int"
        assert r.object("idletime", "other") >= 0
        assert r.memory_usage("other") > 0
        assert r.unlink("other", "copied") == 2


def test_times_to_live():
    with Server() as server:
        r = client(server)
        later = int(time.time()) + 1000
        r.set("k", "v")
        assert r.expire("k", 100) and not r.expire("k", 50, gt=True) and r.expire("k", 50, lt=True)
        assert not r.expire("k", 60, nx=True) and r.expire("k", 60, xx=True)
        assert r.expireat("k", later) and r.expiretime("k") == later
        assert r.pexpireat("k", later * 1000 + 1) and r.pexpiretime("k") == later * 1000 + 1
        assert r.persist("k") and r.expiretime("k") == -1 and r.expiretime("missing") == -2
        assert r.pexpire("k", -1) and not r.exists("k")
        assert r.set("k", "v", exat=later) and r.set("k", "w", keepttl=True) and r.expiretime("k") == later


def test_the_server():
    with Server() as server:
        r = client(server)
        r.set("k", "v")
        for section in (
            "server",
            "clients",
            "memory",
            "persistence",
            "stats",
            "cpu",
            "cluster",
            "keyspace",
            "cores",
        ):
            assert r.info(section), f"INFO {section} says nothing"
        assert r.info("keyspace")["db0"]["keys"] == 1
        assert r.config_set("maxmemory", "100mb") and r.config_get("maxmemory") == {"maxmemory": "104857600"}
        assert r.config_resetstat()
        assert abs(r.time()[0] - time.time()) < 60
        assert r.slowlog_len() >= 0 and isinstance(r.slowlog_get(), list) and r.slowlog_reset()
        assert r.wait(0, 100) == 0
        assert r.lastsave()
        assert r.command_count() == len(r.command())


def test_memory_full_is_an_error_that_the_library_knows():
    with Server() as server:
        r = client(server)
        r.set("k", "v")
        assert r.config_set("maxmemory", 1)
        try:
            r.set("k", "w")
        except redis.exceptions.OutOfMemoryError as error:
            assert "command not allowed when used memory > 'maxmemory'" in str(error)
        else:
            raise AssertionError("stored past maxmemory")
        assert r.get("k") == b"v" and r.delete("k") == 1


def test_clients_see_and_end_each_other():
    with Server() as server:
        # One connection of its own: a pool would open another when this one is ended.
        first, second = (
            client(server, single_connection_client=True, client_name=name) for name in ("first", "second")
        )
        assert second.ping()
        clients = {each["name"]: each for each in first.client_list()}
        assert {"first", "second"} <= set(clients), clients
        assert first.client_info()["name"] == "first"
        assert first.client_kill_filter(_id=clients["second"]["id"]) == 1
        names = [each["name"] for each in first.client_list()]
        assert "second" not in names, names


def test_locks_need_scripts_only_to_be_released():
    with Server() as server:
        r = client(server)
        first, second = r.lock("lock", timeout=30), r.lock("lock", timeout=30, blocking=False)
        assert first.acquire() and not second.acquire()
        assert r.ttl("lock") > 0 and first.locked() and first.owned()
        assert r.delete("lock") == 1 and second.acquire()
        try:
            r.lock("never").release()
        except LockError:
            pass
        else:
            raise AssertionError("released what it did not hold")


def test_a_pool_over_threads():
    with Server() as server:
        host, port = server.resp
        pool = redis.BlockingConnectionPool(host=host, port=port, max_connections=8, timeout=30)
        r = redis.Redis(connection_pool=pool)
        threads = [threading.Thread(target=lambda: [r.incr("count") for _ in range(200)]) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert r.get("count") == b"3200"


def test_the_asynchronous_client():
    async def use(address, protocol):
        host, port = address
        async with redis.asyncio.Redis(host=host, port=port, protocol=protocol) as r:
            assert await r.set("k", "v") and await r.get("k") == b"v"
            counts = await asyncio.gather(*(r.incr(f"n{protocol}") for _ in range(50)))
            assert sorted(counts) == list(range(1, 51))
            async with r.pipeline(transaction=False) as pipeline:
                answers = await pipeline.set("a", 1).incr("a").get("a").execute()
            assert answers == [True, 2, b"2"]
            assert sorted([key async for key in r.scan_iter("[ka]")]) == [b"a", b"k"]

    with Server() as server:
        for protocol in (2, 3):
            asyncio.run(use(server.resp, protocol))


def test_decoded_answers_and_urls():
    with Server() as server:
        host, port = server.resp
        r = redis.Redis.from_url(f"redis://{host}:{port}/0?protocol=3", decode_responses=True)
        assert r.set("grün", "blau") and r.get("grün") == "blau" and r.keys() == ["grün"]


if __name__ == "__main__":
    run(sys.modules[__name__])
