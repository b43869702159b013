"""Five nodes in five network namespaces, two of them cut off under load for `RINGWISE_CUT_SECONDS` (8 where it is not
given): what each side answers meanwhile, and what is left afterwards of every job that was acknowledged.

Needs root and `ip` (iproute2). It runs in a network namespace of its own, so that nothing of it is seen outside.
"""

import collections
import json
import os
import random
import subprocess
import threading
import time

from _scheduler_spaces import ALL, NODES, PORT, Spaces, ask, host, judge, leader, name, unshared, until

CUT_SECONDS = float(os.environ.get("RINGWISE_CUT_SECONDS", "8"))
CUT_OFF = (1, 2)


def within(node, path, value, key):
    """The same asked from within the node's own namespace: the only place where a node that is cut off is heard."""
    words = ["ip", "netns", "exec", name(node), "curl", "-s", "-m", "10", "-w", "\n%{http_code}", "-XPOST"]
    words += ["-H", f"Idempotency-Key: {key}", "-d", json.dumps(value), f"http://{host(node)}:{PORT}{path}"]
    *body, status = subprocess.run(words, capture_output=True, text=True).stdout.split("\n")
    return int(status or 0), "\n".join(body)


def main():
    with Spaces() as spaces:
        acknowledged, answers, over = {}, collections.Counter(), threading.Event()

        def load(number):
            count = 0
            while not over.is_set():
                count += 1
                key, node = f"{number}-{count}", random.randint(1, NODES)
                program = {"program": "echo $JOB_ID $ATTEMPT", "interpreter": "sh"}
                side = "cut off" if node in CUT_OFF else "majority"
                try:
                    status, answer = ask(node, "POST", "/api/v1/jobs", program, key, timeout=6)
                except (OSError, ValueError):
                    status, answer = "no answer", None
                answers[f"{phase[0]}, {side}: {status}"] += 1
                if status == 201:
                    acknowledged[answer["id"]] = key
                time.sleep(0.02)

        phase = ["before"]
        threads = [threading.Thread(target=load, args=(number,), daemon=True) for number in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(2)
        phase[0] = "cut"
        first = leader(ALL)
        for node in CUT_OFF:
            spaces.cut(node)
        began = time.monotonic()
        until(lambda: leader([3, 4, 5]) not in (None, *CUT_OFF), "a leader of the majority")
        print(f"the leader was node {first}; the majority has one {time.monotonic() - began:.1f} s after the cut")
        time.sleep(CUT_SECONDS / 2)
        refused = within(CUT_OFF[0], "/api/v1/jobs", {"program": "x"}, "refused")
        assert refused[0] == 503 and "majority" in refused[1], refused
        print(f"a node that is cut off says {refused[0]}: {refused[1]}")
        time.sleep(CUT_SECONDS / 2)
        for node in CUT_OFF:
            spaces.join(node)
        phase[0] = "after"
        until(lambda: ask(CUT_OFF[0], "POST", "/api/v1/jobs", {"program": "x"}, "healed")[0] == 201, "healed")
        time.sleep(2)
        over.set()
        for thread in threads:
            thread.join()
        for line in sorted(answers):
            print(f"  {line}: {answers[line]}")
        assert answers["cut, majority: 201"] > 0, answers
        judge(acknowledged)
        print(f"scheduler_namespaces: {len(acknowledged)} acknowledged jobs, each with one end")


unshared()
main()
