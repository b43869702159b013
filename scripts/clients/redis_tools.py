"""The tools on everybody's machine: redis-cli and redis-benchmark."""

import subprocess
import sys

from _server import Server, run


def tool(name, server, *words, text=None):
    """What the tool prints, when it ends with status 0."""
    host, port = server.resp
    command = [name, "-h", host, "-p", str(port), *words]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}: {done.returncode}: {done.stdout} {done.stderr}"
    return done.stdout


def test_redis_cli():
    with Server() as server:
        assert tool("redis-cli", server, "ping") == "PONG\n"
        assert tool("redis-cli", server, "set", "k", "a value") == "OK\n"
        assert tool("redis-cli", server, "get", "k") == "a value\n"
        assert tool("redis-cli", server, "-3", "get", "k") == "a value\n"
        assert tool("redis-cli", server, "get", "missing") == "\n"


def test_redis_cli_reads_commands_from_a_pipe():
    with Server() as server:
        lines = "".join(f"set line{number} {number}\n" for number in range(100)) + "dbsize\n"
        assert tool("redis-cli", server, text=lines).splitlines() == ["OK"] * 100 + ["100"]


def test_redis_benchmark_finds_nothing_wrong():
    with Server() as server:
        words = ["-t", "ping,set,get,incr,mset", "-n", "10000", "-c", "50", "-P", "16", "-r", "1000", "--csv"]
        lines = tool("redis-benchmark", server, *words).splitlines()
        assert len(lines) == 7, lines


if __name__ == "__main__":
    run(sys.modules[__name__])
