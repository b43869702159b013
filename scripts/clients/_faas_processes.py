"""Processes below a process, by what the kernel says."""

import pathlib


def children(pid):
    """Every process below that one."""
    found, frontier = [], [pid]
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                name = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            parents.setdefault(int(stat[1]), []).append((int(entry.name), name))
    while frontier:
        for child, name in parents.get(frontier.pop(), []):
            found.append((child, name))
            frontier.append(child)
    return found
