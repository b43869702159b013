#!/bin/sh
# Pickles one function by value with several Pythons: make.sh PYTHON... (each needs dill). What they write is kept here,
# so that a worker's answer to another Python's bytes can be tested where there is one Python.
here=$(dirname "$0")
for python in "$@"; do
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" - > "$here/dill-$version.pickle" <<'END'
import dill, sys
text = "def example(n):\n    total = sum(range(n))\n    return total + len('abcdefg')\n"
names = {"__name__": "__main__"}
exec(text, names)
sys.stdout.buffer.write(dill.dumps(names["example"], protocol=4, recurse=True))
END
done
