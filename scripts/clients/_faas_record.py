"""What is kept of a measurement of faas: a page with a table, all numbers as JSON, and a chart where one helps."""

import json
import pathlib
import platform
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]
COLOURS = ("#2f6fde", "#c0392b", "#2e8b57")

TITLES = {
    "rates": "No-op tasks: how many a second, and how long a lone one takes",
    "weak": "One-second sleeps, two for each slot, over 1 to 8 slots",
    "load": "From submitting to the result, while so many no-op tasks a second are asked for",
    "celery": "No-op tasks by faas and by Celery with Redis, by turns",
    "idle": "Seconds of processor time while nothing is asked",
    "queued": "100,000 tasks that nobody runs, and a restart",
}


def said(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def load():
    return " ".join(pathlib.Path("/proc/loadavg").read_text().split()[:3])


def facts(load_before):
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "command": "python scripts/clients/_faas_measure.py PROGRAM " + " ".join(sys.argv[2:]).split(" --save")[0],
        "commit": said("git", "rev-parse", "--short=12", "HEAD"),
        "date": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
        "kernel": platform.release(),
        "processor": processor,
        "processors": len([line for line in lines if line.startswith("processor")]),
        "python": platform.python_version(),
        "load_before": load_before,
        "load_after": load(),
    }


def shown(value):
    return f"{value:.3g}" if isinstance(value, float) and value < 100 else f"{value:.0f}" if isinstance(value, float) else str(value)


def keep(folder, name, rows, load_before):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    where = facts(load_before)
    value = {"environment": where, "measurement": f"faas-{name}", "result": {"rows": rows}}
    (folder / "result.json").write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [f"# {TITLES[name]}", "", "| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    lines += ["| " + " | ".join(shown(row.get(column, "")) for column in columns) + " |" for row in rows]
    if name == "weak":
        (folder / "weak.svg").write_text(weak(rows))
        lines += ["", "![seconds over slots, by mode](weak.svg)"]
    lines += [
        "",
        f"Command: `{where['command']}`. Commit {where['commit']}, {where['date']}. {where['processor']}, "
        f"{where['processors']} processors, Linux {where['kernel']}, Python {where['python']}. Client, service, workers and slots "
        f"share the machine. Load averages {load_before} before, {where['load_after']} after.",
    ]
    (folder / "README.md").write_text("\n".join(lines) + "\n")


def weak(rows):
    """Seconds over slots: a flat line is what weak scaling promises, and the grey one is what cannot be beaten."""
    left, right, top, bottom = 70, 560, 40, 330
    slots = sorted({row["slots"] for row in rows})
    most = 1.25 * max(max(row["seconds"], row["ideal"]) for row in rows)
    x = lambda each: left + (right - left) * slots.index(each) / max(1, len(slots) - 1)
    y = lambda seconds: bottom - (bottom - top) * seconds / most
    line = lambda points, colour, more="": (
        f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points)}" fill="none" stroke="{colour}" stroke-width="2"{more}/>'
    )
    drawn = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 400" font-family="sans-serif" fill="#222">',
        '<rect width="700" height="400" fill="#fff"/>',
        f'<text x="{left}" y="22" font-size="15">Two one-second sleeps for each slot</text>',
        f'<text x="16" y="185" font-size="12" text-anchor="middle" transform="rotate(-90 16 185)">seconds until all are done</text>',
        f'<text x="{(left + right) / 2}" y="375" font-size="12" text-anchor="middle">slots</text>',
    ]
    for second in range(int(most) + 1):
        drawn.append(f'<line x1="{left}" x2="{right}" y1="{y(second):.1f}" y2="{y(second):.1f}" stroke="#ddd"/>')
        drawn.append(f'<text x="{left - 6}" y="{y(second) + 4:.1f}" text-anchor="end" font-size="11">{second}</text>')
    drawn += [f'<text x="{x(each):.1f}" y="{bottom + 18}" text-anchor="middle" font-size="12">{each}</text>' for each in slots]
    ideal = {row["slots"]: row["ideal"] for row in rows}
    drawn.append(line([(x(each), y(ideal[each])) for each in slots], "#777", ' stroke-dasharray="6 4"'))
    for at, mode in enumerate(dict.fromkeys(row["mode"] for row in rows)):
        points = [(x(row["slots"]), y(row["seconds"])) for row in rows if row["mode"] == mode]
        drawn.append(line(points, COLOURS[at % len(COLOURS)]))
        drawn.append(f'<text x="{right + 20}" y="{60 + 20 * at}" font-size="12" fill="{COLOURS[at % len(COLOURS)]}">{mode}</text>')
    return "\n".join([*drawn, "</svg>"]) + "\n"
