"""A dht process of one's own, what starting and stopping is for every program, and a runner for plain functions.

A script says `with Server() as server:` and talks to `server.resp` or `server.frame`. The process has free ports,
is stopped by SIGTERM at the end, and must then exit with status 0: a server that cannot stop fails its script.
"""

import contextlib
import inspect
import pathlib
import random
import socket
import subprocess
import sys
import threading
import traceback

STOP_SECONDS_MAX = 20
READY_SECONDS_MAX = 60


class Server:
    """One running `dht serve`, given more options if need be."""

    def __init__(self, *options):
        self.options = options
        self.process = None

    def __enter__(self):
        command = [sys.argv[1], "serve", "--port", "0", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.keys = ready(self.process, "dht")
        self.resp = address(self.keys["resp"])
        self.frame = address(self.keys["frame"])
        self.cores = addresses(self.keys["cores"])
        return self

    def __exit__(self, kind, value, trace):
        stop(self.process)


def free_ports(count):
    """Ports nobody listens at, under those that the kernel gives out: nothing started on port 0 takes one of them."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        first_given_out = int(file.read().split()[0])
    found = []
    for port in random.sample(range(10_000, first_given_out), first_given_out - 10_000):
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            found.append(port)
        if len(found) == count:
            return found
    raise AssertionError("no free ports")


def first_line(process):
    """What a process says first on standard output; nothing when it takes too long, and is killed."""
    too_late = threading.Timer(READY_SECONDS_MAX, process.kill)
    too_late.start()
    line = process.stdout.readline()
    too_late.cancel()
    return line.rstrip("\n")


def ready(process, program):
    """Waits until a program serves: what its READY line says, by key."""
    line = first_line(process)
    assert line.startswith(f"READY {program} "), f"expected READY, got {line!r}"
    keys = dict(word.split("=", 1) for word in line.split()[2:])
    assert keys["pid"] == str(process.pid), (keys, process.pid)
    return keys


def stop(process):
    """SIGTERM, at which a program must end in time, and well."""
    process.terminate()
    try:
        status = process.wait(timeout=STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"did not stop within {STOP_SECONDS_MAX} s of SIGTERM") from None
    assert status == 0, f"SIGTERM must end it with status 0, not {status}"


def address(text):
    """`host:port` as a pair."""
    host, port = text.rsplit(":", 1)
    return host, int(port)


def addresses(text):
    """`host:port`, `host:first-last` or `host:port,port` as a list of pairs."""
    host, ports = text.rsplit(":", 1)
    if "-" in ports:
        first, last = ports.split("-")
        return [(host, port) for port in range(int(first), int(last) + 1)]
    return [(host, int(port)) for port in ports.split(",")]


def resident(process):
    """What a process that was started here holds of the machine's memory, in bytes."""
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("the kernel says how much it holds")


def run(module):
    """Runs every function of `module` whose name begins with `test_`; exits with 1 when one failed."""
    functions = [each for name, each in inspect.getmembers(module, inspect.isfunction) if name.startswith("test_")]
    functions.sort(key=lambda function: function.__code__.co_firstlineno)
    assert functions, "a script without tests proves nothing"
    failed = 0
    for function in functions:
        try:
            function()
            print(f"  {function.__name__}: held")
        except Exception:
            failed += 1
            print(f"  {function.__name__}: FAILED")
            # Among the other lines, which whoever runs all scripts keeps.
            traceback.print_exc(file=sys.stdout)
    print(f"  {len(functions) - failed} held, {failed} failed")
    sys.exit(1 if failed else 0)
