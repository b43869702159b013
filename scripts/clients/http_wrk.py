"""wrk: many connections that ask as fast as they are answered; not one request may fail."""

import re
import subprocess
import sys

from _server import run
from _stand import Stand

WAIT_SECONDS_MAX = 60
SECONDS = 2


def load(page, connections):
    """What wrk counts: requests, and all that went wrong in its own words."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "--timeout", "10s", page]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS_MAX)
    except FileNotFoundError:
        raise AssertionError("wrk is missing here; apt-get install wrk") from None
    assert done.returncode == 0, f"{command}: {done.returncode} {done.stderr}{done.stdout}"
    requests = re.search(r"(\d+) requests in ", done.stdout)
    assert requests, done.stdout
    wrong = re.findall(r"Socket errors: .*|Non-2xx or 3xx responses: .*", done.stdout)
    return int(requests[1]), wrong


def held(stand, path, connections):
    requests, wrong = load(f"{stand.page}{path}", connections)
    assert wrong == [], wrong
    assert requests >= connections, f"{requests} requests of {connections} connections"


def test_nothing_fails():
    with Stand("patient") as stand:
        for path, connections in [("/kilobyte", 100), ("/items/7", 1000), ("/chunks", 100), ("/other", 100)]:
            held(stand, path, connections)


def test_what_wrk_says_of_failures_is_seen():
    with Stand("patient") as stand:
        requests, wrong = load(f"{stand.page}/nothing", 10)
        assert wrong == [f"Non-2xx or 3xx responses: {requests}"], wrong


if __name__ == "__main__":
    run(sys.modules[__name__])
