"""The small system of the face's tests (runtime/web/examples/stand.rs) as a process of one's own.

A script says `with Stand() as stand:` and talks to `stand.address`; `Stand("patient")` has bounds that a busy machine
does not reach. It is built beside the dht.
"""

import pathlib
import subprocess
import sys
import threading

from _server import READY_SECONDS_MAX, STOP_SECONDS_MAX, address


class Stand:
    """One running stand, given more words if need be."""

    def __init__(self, *words):
        self.words = words

    def __enter__(self):
        program = pathlib.Path(sys.argv[1]).parent / "examples" / "stand"
        self.process = subprocess.Popen([str(program), *self.words], stdout=subprocess.PIPE, text=True)
        too_late = threading.Timer(READY_SECONDS_MAX, self.process.kill)
        too_late.start()
        line = self.process.stdout.readline().strip()
        too_late.cancel()
        self.address = address(line)
        self.page = f"http://{line}"
        self.socket = f"ws://{line}"
        return self

    def __exit__(self, kind, value, trace):
        self.process.terminate()
        try:
            status = self.process.wait(timeout=STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"did not stop within {STOP_SECONDS_MAX} s of SIGTERM") from None
        assert status == 0, f"SIGTERM must end it with status 0, not {status}"
