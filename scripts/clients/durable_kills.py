"""A server that is killed again and again under load, judged by the load generator: after each kill it is started
again on the same folder, and when all is over every key is read. Under `sync` nothing that was acknowledged may be
gone, and every history must be a register's.

`RINGWISE_KILLS` says how many kills; a run of the generator sees as many as there is time for. `RINGWISE_SERVE` is added to the
server's options. The generator is the one beside the server's program.
"""

import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import time

from _server import free_ports, ready, run, stop

KILLS = int(os.environ.get("RINGWISE_KILLS", "10"))
KILLS_FOR_SECONDS = 25
SETTLED_SECONDS = 4
BETWEEN_SECONDS = (0.5, 2.5)
RATE = 5_000


class Killed:
    """A server at a port that stays the same."""

    def __init__(self, folder):
        self.port = free_ports(1)[0]
        self.command = [sys.argv[1], "serve", "--port", str(self.port), "--frame-port", "0",
                        "--core-port", "0", "--metrics-port", "0", "--data", str(folder),
                        "--durability", "sync", "--snapshot-after", "1mb", *os.environ.get("RINGWISE_SERVE", "").split()]
        self.start()

    def start(self):
        began = time.monotonic()
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        ready(self.process, "dht")
        return time.monotonic() - began

    def kill(self):
        self.process.kill()
        self.process.wait()


def killed_under_load(seed, most):
    """At most so many kills within one run of the generator: what it found of the writes, and how long each start
    took."""
    chance = random.Random(seed)
    seconds = KILLS_FOR_SECONDS + 2 * SETTLED_SECONDS
    with tempfile.TemporaryDirectory(prefix="ringwise-kills-") as folder:
        folder = pathlib.Path(folder)
        server = Killed(folder / "kept")
        history, kept = folder / "history.csv", folder / "report"
        hears = free_ports(1)[0]
        loadgen = subprocess.Popen(
            [str(pathlib.Path(sys.argv[1]).with_name("loadgen")), "run", f"resp://127.0.0.1:{server.port}",
             "--connections", "50", "--rate", str(RATE), "--mix", "get=50,set=50", "--keys", "20000",
             "--duration", f"{seconds}s", "--seed", str(seed), "--timeout", "1s", "--events", f"127.0.0.1:{hears}",
             "--history", str(history), "--out", str(kept)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        says, starts = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), []
        try:
            time.sleep(SETTLED_SECONDS)
            until = time.monotonic() + KILLS_FOR_SECONDS
            while len(starts) < most:
                time.sleep(chance.uniform(*BETWEEN_SECONDS))
                if time.monotonic() > until:
                    break
                assert loadgen.poll() is None, "the generator ended before its time"
                server.kill()
                says.sendto(f"kill {len(starts) + 1}".encode(), ("127.0.0.1", hears))
                starts.append(server.start())
            said, _ = loadgen.communicate(timeout=seconds + 120)
        finally:
            loadgen.kill()
            says.close()
        stop(server.process)
        report = json.loads((kept / "run.json").read_text())
        heard = (kept / "events.csv").read_text()
        assert heard.count("kill ") == len(starts), heard + said
        check = subprocess.run([loadgen.args[0], "check", str(history)], capture_output=True, text=True)
        assert check.returncode == 0, check.stdout + check.stderr
    return report["writes"], starts


def test_nothing_acknowledged_is_gone_after_any_kill():
    acknowledged, starts = 0, []
    seed = 0
    while len(starts) < KILLS:
        seed += 1
        writes, took = killed_under_load(seed, KILLS - len(starts))
        assert writes["lost"] == 0 and writes["unread_keys"] == 0, (seed, writes)
        assert writes["acknowledged"] > 100 * len(took), (seed, writes)
        acknowledged += writes["acknowledged"]
        starts += took
        print(f"    {len(starts)} kills: {acknowledged} writes acknowledged, none gone")
    starts.sort()
    print(f"    from a start to READY: {starts[len(starts) // 2]:.3f} s in the middle, {starts[-1]:.3f} s at most")


if __name__ == "__main__":
    run(sys.modules[__name__])
