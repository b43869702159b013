"""A real disk that fills, and one that turns read-only: what the hash table says, that reads go on, that a full disk
heals when there is room, and that what was acknowledged is there afterwards.

Mounts a tmpfs and an ext4 on a loop device, and so needs root and mount; without them it fails and says so.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from _resp import Error, Wire, decoded
from _server import Server, run

VALUE = b"v" * 20_000
# How long a change may take to be noticed; nothing is measured by it.
PATIENCE_SECONDS = 30


def needs_root():
    assert os.geteuid() == 0, "this test mounts file systems: run it as root"
    for program, package in [("mount", "mount"), ("mkfs.ext4", "e2fsprogs"), ("losetup", "mount")]:
        assert shutil.which(program), f"Missing here: {program}. Install the Debian package {package}."


def command(*words):
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr.strip()}"
    return done.stdout.strip()


@contextlib.contextmanager
def memory_disk(size):
    """A file system of so many bytes."""
    needs_root()
    place = pathlib.Path(tempfile.mkdtemp(prefix="ringwise-full-"))
    command("mount", "-t", "tmpfs", "-o", f"size={size}", "ringwise-test", str(place))
    try:
        yield place
    finally:
        command("umount", str(place))
        place.rmdir()


@contextlib.contextmanager
def loop_disk(megabytes):
    """An ext4 on a loop device; gives where it is mounted, and the device."""
    needs_root()
    place = pathlib.Path(tempfile.mkdtemp(prefix="ringwise-loop-"))
    image = place.with_suffix(".image")
    image.write_bytes(b"")
    os.truncate(image, megabytes << 20)
    command("mkfs.ext4", "-q", "-F", str(image))
    device = command("losetup", "--find", "--show", str(image))
    try:
        command("mount", "-o", "errors=remount-ro", device, str(place))
        try:
            yield place, device
        finally:
            command("umount", "--lazy", str(place))
    finally:
        command("losetup", "--detach", device)
        image.unlink()
        place.rmdir()


class Client:
    """One connection; an error is an answer as any other."""

    def __init__(self, address):
        self.wire = Wire(address)

    def ask(self, *words):
        return decoded(self.wire.ask(*words))


def said(client, *words):
    """What the server says, as text."""
    answer = client.ask(*words)
    return answer.decode() if isinstance(answer, bytes) else answer


def fill(client, name):
    """Writes until it is refused; how many were acknowledged, and the refusal."""
    for number in range(100_000):
        answer = client.ask("SET", f"{name}{number}", VALUE)
        if isinstance(answer, Error):
            return number, answer.decode()
        assert answer == b"OK", answer
    raise AssertionError("it never fills")


def until(what, client, *words):
    """Asks until the answer is what is wanted."""
    last = None
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        last = client.ask(*words)
        if what(last):
            return last
        time.sleep(0.05)
    raise AssertionError(f"{words[:2]} is answered {last!r}")


def kept(client, name, count):
    for number in range(count):
        assert client.ask("GET", f"{name}{number}") == VALUE, f"{name}{number} was acknowledged and is gone"


def test_a_full_disk_refuses_writes_answers_reads_and_heals():
    for durability in ["sync", "batch"]:
        with memory_disk("24m") as place:
            options = ["--data", str(place / "data"), "--durability", durability]
            options += ["--log-segment", "1mb", "--snapshot-after", "0"]
            ballast = place / "ballast"
            with Server(*options) as server:
                client = Client(server.resp)
                client.ask("SET", "first", "1")
                ballast.write_bytes(b"x" * (8 << 20))
                count, refusal = fill(client, "key")
                assert refusal.startswith("MISCONF the disk is full: writes are refused until there is room"), refusal
                assert client.ask("GET", "first") == b"1", "reads go on"
                assert client.ask("GET", "key0") == VALUE, "reads go on"
                told = client.ask("INFO", "persistence").decode()
                assert "aof_last_write_status:err" in told, told
                assert said(client, "SAVE").startswith("MISCONF"), "there is no room for a snapshot either"
                ballast.unlink()
                until(lambda answer: answer == b"OK", client, "SET", "after", "1")
                # Each core finds out for itself.
                until(lambda told: b"aof_last_write_status:ok" in told, client, "INFO", "persistence")
            with Server(*options) as server:
                client = Client(server.resp)
                assert client.ask("GET", "after") == b"1"
                # Under batch too: what was answered before the disk was full waited for room.
                kept(client, "key", count)


def test_a_snapshot_without_room_is_given_up_and_the_log_goes_on():
    with memory_disk("24m") as place:
        options = ["--data", str(place / "data"), "--durability", "sync"]
        options += ["--log-segment", "256kb", "--snapshot-after", "0"]
        with Server(*options) as server:
            client = Client(server.resp)
            for number in range(400):
                client.ask("SET", f"key{number}", VALUE)
            free = shutil.disk_usage(place).free
            ballast = place / "ballast"
            ballast.write_bytes(b"x" * (free - (3 << 20)))
            refusal = said(client, "SAVE")
            assert refusal.startswith("ERR there is no room on the disk for a snapshot"), refusal
            told = client.ask("INFO", "persistence").decode()
            assert "rdb_last_bgsave_status:err" in told, told
            assert client.ask("SET", "more", "1") == b"OK", "the log has room"
            ballast.unlink()
            assert client.ask("SAVE") == b"OK"
        with Server(*options) as server:
            client = Client(server.resp)
            kept(client, "key", 400)
            assert client.ask("GET", "more") == b"1"


def test_a_disk_that_turns_read_only_refuses_writes_for_good_and_reads_go_on():
    with loop_disk(64) as (place, device):
        options = ["--data", str(place / "data"), "--durability", "sync", "--log-segment", "1mb"]
        with Server(*options) as server:
            client = Client(server.resp)
            for number in range(50):
                client.ask("SET", f"key{number}", VALUE)
            # What the kernel does when the disk fails under its journal.
            command("mount", "-o", "remount,abort", str(place))
            refusal = until(lambda answer: isinstance(answer, Error), client, "SET", "late", VALUE)
            assert refusal.startswith(b"MISCONF the disk failed: writes are refused until a restart"), refusal
            assert client.ask("GET", "key7") == VALUE, "reads go on"
            assert isinstance(client.ask("SET", "late", "1"), Error), "it stays so"
            assert isinstance(client.ask("SAVE"), Error)
        command("umount", str(place))
        command("mount", device, str(place))
        with Server(*options) as server:
            client = Client(server.resp)
            kept(client, "key", 50)
            assert client.ask("SET", "late", "1") == b"OK"


def test_a_start_on_a_read_only_disk_says_so():
    with loop_disk(64) as (place, device):
        with Server("--data", str(place / "data"), "--durability", "sync", "--log-segment", "1mb") as server:
            Client(server.resp).ask("SET", "key", "1")
        command("mount", "-o", "remount,ro", str(place))
        for words in [["serve", "--port", "0", "--durability", "sync", "--data"], ["check"], ["export"]]:
            ended = subprocess.run([sys.argv[1], *words, str(place / "data")], capture_output=True, text=True, timeout=60)
            if words[0] == "serve":
                assert ended.returncode == 5, ended
                assert "Read-only file system" in ended.stderr, ended.stderr
            else:
                assert ended.returncode == 0, f"{words}: {ended.stderr}"


if __name__ == "__main__":
    run(sys.modules[__name__])
