"""How long a slot takes to start, to end and to answer, without service and worker: `_slot_measure.py [STARTS]`.

A figure wants a quiet machine. What is printed is a distribution over starts, and the median of calls.
"""

import pickle
import sys
import time

import dill

from _slot import Zygote


def at(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def distribution(name, seconds, unit, per_second):
    shares = " ".join(f"p{int(100 * share)} {at(seconds, share) * per_second:.2f}" for share in (0.1, 0.5, 0.9, 0.99, 1))
    print(f"{name}, {unit}: {shares} ({len(seconds)} times)")


def main(starts):
    nothing, payload = dill.dumps(lambda: None, recurse=True), pickle.dumps(((), {}))
    with Zygote() as zygote:
        begun, ended, called = [], [], []
        for _ in range(starts):
            before = time.perf_counter()
            slot = zygote.slot()
            begun.append(time.perf_counter() - before)
            assert slot.run(nothing).value() is None
            before = time.perf_counter()
            slot.kill()
            ended.append(time.perf_counter() - before)
        distribution("from a start to a slot's first word", begun, "ms", 1e3)
        distribution("from a kill to the last of it gone", ended, "ms", 1e3)
        slot = zygote.slot()
        for _ in range(5000):
            before = time.perf_counter()
            slot.run(nothing)
            called.append(time.perf_counter() - before)
        distribution("a warm call", called, "us", 1e6)
        count, before = 0, time.perf_counter()
        while time.perf_counter() - before < 2:
            for _ in range(32):
                slot.send(nothing, payload)
            for _ in range(32):
                slot.report()
            count += 32
        print(f"32 calls sent ahead: {count / (time.perf_counter() - before):.0f} a second")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
