"""The small system of the face's tests (runtime/web/examples/stand.rs) as a process of one's own.

A script says `with Stand() as stand:` and talks to `stand.address`; `Stand("patient")` has bounds that a busy machine
does not reach. It is built beside the dht.
"""

import pathlib
import subprocess
import sys

from _server import address, first_line, stop


class Stand:
    """One running stand, given more words if need be."""

    def __init__(self, *words):
        self.words = words

    def __enter__(self):
        program = pathlib.Path(sys.argv[1]).parent / "examples" / "stand"
        self.process = subprocess.Popen([str(program), *self.words], stdout=subprocess.PIPE, text=True)
        line = first_line(self.process)
        self.address = address(line)
        self.page = f"http://{line}"
        self.socket = f"ws://{line}"
        return self

    def __exit__(self, kind, value, trace):
        stop(self.process)
