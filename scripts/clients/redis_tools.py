"""The tools on everybody's machine: redis-cli and redis-benchmark, in every mode that asks something of a server."""

import subprocess
import sys

from _resp import encoded
from _server import Server, run

PIPED = 100_000


def tool(name, server, *words, text=None, address=None):
    """What the tool prints, when it ends with status 0."""
    host, port = address or server.resp
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


def test_redis_cli_takes_a_mass_of_commands():
    with Server() as server:
        text = b"".join(encoded([b"SET", b"mass:%d" % n, b"value %d" % n]) for n in range(PIPED)).decode()
        printed = tool("redis-cli", server, "--pipe", text=text)
        assert f"errors: 0, replies: {PIPED}" in printed, printed
        assert tool("redis-cli", server, "dbsize") == f"{PIPED}\n"
        assert tool("redis-cli", server, "get", f"mass:{PIPED - 1}") == f"value {PIPED - 1}\n"


def test_redis_cli_scans():
    with Server() as server:
        words = [word for number in range(500) for word in (f"scan:{number}", "x" * (number + 1))]
        assert tool("redis-cli", server, "mset", *words, "other", "y") == "OK\n"
        lines = tool("redis-cli", server, "--scan", "--pattern", "scan:*").split()
        assert sorted(set(lines)) == sorted(f"scan:{number}" for number in range(500))
        biggest = tool("redis-cli", server, "--bigkeys")
        assert "Sampled 501 keys" in biggest and "scan:499\"' has 500 bytes" in biggest, biggest
        memory = tool("redis-cli", server, "--memkeys")
        assert "Sampled 501 keys" in memory, memory


def test_redis_cli_measures_latency():
    with Server() as server:
        # Not on a terminal it measures for a second, prints one line and ends.
        low, high, mean, count = tool("redis-cli", server, "--latency", "--raw").split()[:4]
        assert float(low) <= float(mean) <= float(high) and int(count) > 0


def test_redis_cli_repeats():
    with Server() as server:
        assert tool("redis-cli", server, "-r", "3", "incr", "n") == "1\n2\n3\n"
        assert '"server" => "redis"' in tool("redis-cli", server, "-3", "--no-raw", "hello", "3").replace(
            "1# ", ""
        )


def test_redis_cli_follows_the_cluster():
    with Server() as server:
        for number in range(50):
            assert (
                tool("redis-cli", server, "-c", "set", f"c{number}", str(number), address=server.cores[0])
                == "OK\n"
            )
        for number in range(50):
            assert (
                tool("redis-cli", server, "-c", "get", f"c{number}", address=server.cores[-1])
                == f"{number}\n"
            )


def test_redis_cli_checks_the_cluster():
    with Server() as server:
        host, port = server.cores[0]
        command = ["redis-cli", "--cluster", "{}", f"{host}:{port}"]
        for word, expected in [
            ("info", f"in {len(server.cores)} primaries"),
            ("check", "[OK] All 16384 slots covered."),
        ]:
            done = subprocess.run(
                [each.format(word) for each in command], capture_output=True, text=True, timeout=120
            )
            # Redis 7.0 says masters.
            printed = done.stdout.replace("masters", "primaries")
            assert done.returncode == 0 and expected in printed, (
                f"{word}: {done.returncode}: {done.stdout} {done.stderr}"
            )


def test_redis_benchmark_drives_every_core():
    with Server() as server:
        words = [
            "--cluster",
            "-t",
            "set,get,incr",
            "-n",
            "20000",
            "-c",
            "50",
            "-P",
            "16",
            "-r",
            "10000",
            "--csv",
        ]
        printed = tool("redis-benchmark", server, *words, address=server.cores[0])
        rows = [
            line for line in printed.splitlines() if line.startswith('"') and not line.startswith('"test"')
        ]
        assert [row.split(",")[0].strip('"') for row in rows] == ["SET", "GET", "INCR"], printed
        assert "rror" not in printed, printed


if __name__ == "__main__":
    run(sys.modules[__name__])
