"""The Python client library of Redis, as its users use it: alone, pipelined, at a core's own port, RESP2 and RESP3."""

import sys
import time

import redis

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
        assert all(core.dbsize() == 500 for core in cores)


if __name__ == "__main__":
    run(sys.modules[__name__])
