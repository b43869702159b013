"""The same bytes to redis-server 7 and to a dht, and the same bytes back.

Requests come from a seed, in episodes of a few: each begins with an empty table and a connection of its own, in
RESP2 or RESP3, one request at a time or all of them at once in pieces. Where an answer differs the episode ends,
for what follows may differ only because of it. _allowed.py lists what may differ and why; all else is a failure.

    RINGWISE_SEEDS=n     seeds 0 to n-1 (3 unless told)
    RINGWISE_SEED=s      that seed alone
    RINGWISE_REQUESTS=n  requests a seed (3000 unless told), besides those that look at the tables in between

With redis-server itself in place of the dht nothing may differ: that shows that the requests are comparable.
"""

import collections
import contextlib
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

from _allowed import TABLE, Asked, allowed
from _requests import COMMANDS, KEYS, VALUE_BYTES_MAX, Request, iteration, request, strange
from _resp import Closed, Error, Wire, decoded, encoded
from _server import Server

SEEDS = 3
REQUESTS = 3000
EPISODE_MAX = 12
SCAN_ROUNDS_MAX = 10_000
SHOWN_PER_COMMAND_MAX = 2
STRANGE_SHARE = 0.03
START_SECONDS_MAX = 20


class Redis:
    """A redis-server of one's own: nothing kept, one table, the dht's bound for values."""

    def __init__(self, program):
        self.program = program

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory()
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.resp = free.getsockname()
        options = {
            "port": self.resp[1],
            "bind": "127.0.0.1",
            "save": "",
            "databases": 1,
            "dir": self.folder.name,
            "proto-max-bulk-len": VALUE_BYTES_MAX,
            "appendonly": "no",
            "logfile": os.path.join(self.folder.name, "log"),
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self.process = subprocess.Popen([self.program, *words])
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            try:
                with Wire(self.resp) as wire:
                    if wire.ask("PING") == b"+PONG\r\n":
                        return self
            except (OSError, Closed):
                pass
            assert self.process.poll() is None and time.monotonic() < deadline, "redis-server does not start"
            time.sleep(0.05)

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


class Report:
    """What was compared, by command."""

    def __init__(self):
        self.made = 0
        self.compared = collections.Counter()
        self.differing = collections.Counter()
        self.allowed = collections.Counter()
        self.examples = collections.defaultdict(list)

    def add(self, episode, request, theirs, ours, redis):
        """Whether these two replies are as they should be."""
        self.compared[request.name] += 1
        if theirs == ours:
            return True
        with contextlib.suppress(ValueError, AssertionError, IndexError):
            asked = Asked(request, episode.relative, redis)
            if request.how in ("one", "alone") and allowed(decoded(theirs), decoded(ours), asked):
                self.allowed[request.name] += 1
                return True
        self.differing[request.name] += 1
        if len(self.examples[request.name]) < SHOWN_PER_COMMAND_MAX:
            self.examples[request.name].append(
                (str(episode), list(episode.before), request.shown, theirs, ours)
            )
        return False

    def print(self):
        names = sorted(self.compared, key=lambda name: (-self.differing[name], name))
        print(f"  {'command':22} compared differing allowed")
        for name in names:
            print(f"  {name:22} {self.compared[name]:8} {self.differing[name]:9} {self.allowed[name]:7}")
        for name in names:
            for episode, before, shown, theirs, ours in self.examples[name]:
                print(f"\n  {name}: {episode}")
                for line in before:
                    print(f"    after    {line}")
                print(f"    request  {shown}\n    redis    {brief(theirs)}\n    dht      {brief(ours)}")
        reasons = {name: entry.reason for entry in TABLE for name in entry.names}
        print("\n  allowed: " + "; ".join(f"{name} ({reasons[name]})" for name in sorted(self.allowed)))
        missed = [name for name in COMMANDS if not self.compared[name]]
        total, differing = sum(self.compared.values()), sum(self.differing.values())
        print(f"\n  {total} compared, {differing} differing, {sum(self.allowed.values())} allowed")
        if differing:
            print("  differing: " + " ".join(name for name in names if self.differing[name]))
        if missed:
            print("  never compared: " + " ".join(missed))
        return not differing and not missed


def brief(reply):
    return repr(reply) if len(reply) < 400 else f"{reply[:300]!r}... ({len(reply)} bytes)"


class Episode:
    """A few requests to both servers, each by a connection of its own."""

    def __init__(self, seed, number, names):
        self.seed, self.number = seed, number
        self.random = random.Random(f"{seed}/{number}")
        self.protocol = self.random.choice([2, 3])
        self.pipelined = self.random.random() < 0.5
        self.relative = self.random.random() < 0.5
        self.before = []
        self.token = 0
        kept = [request(self.random, self.relative, "set") for _ in range(self.random.randint(1, 4))]
        self.requests = kept + [self.next(names) for _ in range(self.random.randint(1, EPISODE_MAX))]

    def __str__(self):
        return f"seed {self.seed}, episode {self.number}, RESP{self.protocol}, {'pipelined' if self.pipelined else 'one by one'}"

    def next(self, names):
        return (
            strange(self.random)
            if self.random.random() < STRANGE_SHARE
            else request(self.random, self.relative, names.next())
        )

    def run(self, redis, dht, report):
        with Wire(redis.resp) as theirs, Wire(dht.resp) as ours:
            self.clean(theirs)
            self.clean(ours)
            for batch in self.batches():
                answers = [self.answers(wire, batch) for wire in (theirs, ours)]
                for index, each in enumerate(batch):
                    report.made += 1
                    if not report.add(self, each, *(reply[index] for reply in answers), theirs):
                        return
                    self.before.append(each.shown)
                if batch[0].how == "closing":
                    return
            self.compare_tables(theirs, ours, report)

    def clean(self, wire):
        """As new. The answers are not compared: the same commands are, among the others."""
        for words in (
            ["FLUSHALL"],
            ["CONFIG", "SET", "maxmemory", "0"],
            ["CONFIG", "SET", "maxmemory-policy", "noeviction"],
            ["HELLO", self.protocol],
        ):
            wire.ask(*words)

    def batches(self):
        """Requests that are sent at once: one, or in a pipeline all up to one that wants to be alone."""
        batch = []
        for each in self.requests:
            if each.how == "one" and self.pipelined:
                batch.append(each)
                continue
            if batch:
                yield batch
                batch = []
            yield [each]
        if batch:
            yield batch

    def answers(self, wire, batch):
        """As many answers as the batch has requests, whatever the server does."""
        how, answers = batch[0].how, []
        try:
            if how == "scan":
                return [whole_iteration(wire, batch[0].options)]
            self.token += 1
            token = b"end-%d" % self.token
            end = b"$%d\r\n%b\r\n" % (len(token), token)
            wire_bytes = b"".join(each.wire for each in batch)
            if how == "closing":
                wire.send(wire_bytes)
                return [wire.until_closed()]
            self.send(wire, wire_bytes + encoded([b"ECHO", token]))
            while (reply := wire.reply()) != end:
                answers.append(reply)
        except Closed as closed:
            answers.append(f"(closed: {closed})".encode())
        if how == "several":
            return [b"".join(answers)]
        if len(answers) > len(batch):
            answers[len(batch) - 1 :] = [b"(too many replies)" + b"".join(answers[len(batch) - 1 :])]
        return answers + [b"(no reply)"] * (len(batch) - len(answers))

    def send(self, wire, data):
        """In up to three pieces, cut anywhere, when pipelined."""
        pieces = random.Random(f"{self.seed}/{self.number}/{self.token}")
        cuts = sorted(pieces.randint(0, len(data)) for _ in range(2 if self.pipelined else 0))
        for start, end in zip([0, *cuts], [*cuts, len(data)]):
            wire.send(data[start:end])

    def compare_tables(self, theirs, ours, report):
        """What the episode has left: an answer may be right and its effect wrong."""
        for name, words in [("get", [b"GET"]), ("pttl", [b"PTTL"]), ("type", [b"TYPE"])]:
            for key in KEYS:
                left = Request(name, encoded([*words, key]), f"{name} {key!r} after the episode", "one")
                if not report.add(
                    self, left, *(self.answers(wire, [left])[0] for wire in (theirs, ours)), theirs
                ):
                    return


def whole_iteration(wire, options):
    """Every key that SCAN gives from 0 until 0, once and in order: cursors and order are the server's own."""
    cursor, keys = b"0", set()
    for _ in range(SCAN_ROUNDS_MAX):
        reply = wire.ask(b"SCAN", cursor, *options)
        value = decoded(reply)
        if isinstance(value, Error):
            return reply
        cursor = value[0]
        keys.update(value[1])
        if cursor == b"0":
            return repr(sorted(keys)).encode()
    return b"(never came to an end)"


class Names:
    """Every command equally often, in an order that the seed chooses."""

    def __init__(self, seed):
        self.random = random.Random(f"{seed}/names")
        self.left = []

    def next(self):
        if not self.left:
            self.left = self.random.sample(list(COMMANDS), len(COMMANDS))
        return self.left.pop()


def compare(redis, dht, report, seed, requests):
    names, number, end = Names(seed), 0, report.made + requests
    while report.made < end:
        Episode(seed, number, names).run(redis, dht, report)
        number += 1


def main():
    program = shutil.which("redis-server")
    if program is None:
        sys.exit("  redis-server 7 is missing here: apt-get install redis-server")
    seeds = (
        [int(os.environ["RINGWISE_SEED"])]
        if "RINGWISE_SEED" in os.environ
        else range(int(os.environ.get("RINGWISE_SEEDS", SEEDS)))
    )
    other = Redis(sys.argv[1]) if os.path.basename(sys.argv[1]) == "redis-server" else Server()
    report = Report()
    with Redis(program) as redis, other as dht:
        for seed in seeds:
            compare(redis, dht, report, seed, int(os.environ.get("RINGWISE_REQUESTS", REQUESTS)))
    sys.exit(0 if report.print() else 1)


if __name__ == "__main__":
    main()
