"""curl: what people type first."""

import subprocess
import sys
import tempfile

from _server import Server, run
from _stand import Stand

WAIT_SECONDS_MAX = "30"


def curl(*words, data=None):
    """What curl says; it must end with status 0."""
    command = ["curl", "--silent", "--show-error", "--max-time", WAIT_SECONDS_MAX, *words]
    try:
        done = subprocess.run(command, input=data, capture_output=True)
    except FileNotFoundError:
        raise AssertionError("curl is missing here; apt-get install curl") from None
    assert done.returncode == 0, f"{words}: {done.returncode} {done.stderr.decode()}"
    return done.stdout.decode()


def status(*words, data=None):
    return curl("--output", "/dev/null", "--write-out", "%{http_code} %{num_connects}", *words, data=data)


def test_health_and_metrics_of_every_core():
    with Server() as server:
        page = f"http://{server.keys['metrics']}"
        assert curl(f"{page}/healthz") == "ok\n"
        text = curl(f"{page}/metrics")
        assert "# TYPE ringwise_dht_commands_total counter\n" in text
        for core in range(len(server.cores)):
            assert f'ringwise_dht_keys{{core="{core}"}} 0\n' in text
        assert 'reactor_turns_total{core="0"}' in text


def test_head_methods_and_what_there_is_not():
    with Stand() as stand:
        head = curl("--head", f"{stand.page}/kit.css")
        assert head.startswith("HTTP/1.1 200 OK\r\n") and "\r\nETag: \"" in head
        assert "\r\nContent-Type: text/css" in head
        assert status(f"{stand.page}/nothing").startswith("404")
        assert status("--request", "DELETE", f"{stand.page}/echo").startswith("405")
        assert "\r\nAllow: POST, OPTIONS\r\n" in curl("--include", "--request", "OPTIONS", f"{stand.page}/echo")
        assert "\r\nRetry-After: 1\r\n" in curl("--include", f"{stand.page}/busy")


def test_one_connection_serves_many_requests():
    with Stand() as stand:
        pages = [f"{stand.page}/items/{number}" for number in range(20)]
        answers = curl("--write-out", " %{num_connects}\n", *pages).splitlines()
        assert answers == [f"item {number} {1 if number == 0 else 0}" for number in range(20)], answers


def test_http_1_0():
    with Stand() as stand:
        assert curl("--http1.0", f"{stand.page}/chunks") == "one two"
        assert curl("--http1.0", f"{stand.page}/items/7") == "item 7"


def test_a_fingerprint_saves_the_file():
    with Stand() as stand, tempfile.NamedTemporaryFile() as tag:
        assert len(curl("--etag-save", tag.name, f"{stand.page}/kit.js")) > 1000
        assert status("--etag-compare", tag.name, f"{stand.page}/kit.js").startswith("304")


def test_bodies_are_announced_or_chunked():
    with Stand() as stand:
        body = b"x" * 1000
        expect = ("--header", "Expect: 100-continue", "--data-binary", "@-")
        assert curl(*expect, f"{stand.page}/echo", data=body) == body.decode()
        chunked = ("--header", "Transfer-Encoding: chunked", "--data-binary", "@-")
        assert curl(*chunked, f"{stand.page}/echo", data=body) == body.decode()
        assert status(*expect, f"{stand.page}/echo", data=b"x" * 1001).startswith("413")
        upload = ("--request", "PUT", "--upload-file", "-")
        assert curl(*upload, f"{stand.page}/parts", data=b"x" * 900_000) == "900000 bytes"


def test_a_large_answer_waits_for_who_reads_slowly():
    with Stand() as stand:
        said = curl("--limit-rate", "4M", f"{stand.page}/big?parts=600")
        assert len(said) == 6_000_000 and set(said) == {"x"}


if __name__ == "__main__":
    run(sys.modules[__name__])
