"""How far apart two cores are: the time that a byte takes from one to the other and back.

Threads that compute one model together exchange their parts after every layer. If a hypervisor
moves a virtual core to another part of the processor, this becomes several times as slow, and
neither the load nor the stolen time shows it. About 100 ns of each result are Python's own.

The module runs as a program of its own, without site-packages, so that it starts in about 10 ms
and binds none of our threads to a core.
"""

import mmap
import os
import signal
import subprocess
import sys
import time
from itertools import combinations

TRIPS, LEAST = 3000, 300  # of a byte between two cores; fewer than LEAST say nothing
SECONDS = 0.05  # for two cores: another process may hold one of them
CORES = 4  # at most, spread evenly over ours: six pairs
PING, PONG = 0, 128  # two bytes in cache lines that are not neighbours


def core_to_core() -> int | None:
    """The round trip in nanoseconds between the two of our cores that are furthest apart, a median.

    None if there is one core, if a process cannot choose its core, or if others hold them all.
    """
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        return None
    command = [sys.executable, "-I", "-S", __file__]
    told = subprocess.run(command, stdout=subprocess.PIPE, check=False, timeout=10).stdout
    return int(told) if told.strip() else None


def main() -> None:
    """Print what `core_to_core` returns, or nothing."""
    ours = sorted(os.sched_getaffinity(0))
    chosen = ours[:: max(1, len(ours) // CORES)][:CORES]
    found = [_median(_trips(a, b)) for a, b in combinations(chosen, 2)]
    known = [ns for ns in found if ns is not None]
    if known:
        sys.stdout.write(f"{max(known)}\n")


def _median(trips: list[int]) -> int | None:
    return sorted(trips)[len(trips) // 2] if len(trips) >= LEAST else None


def _trips(a: int, b: int) -> list[int]:
    with mmap.mmap(-1, mmap.PAGESIZE) as shared:
        answering = os.fork()
        if not answering:
            _answer(shared, b)
        try:
            return _ask(shared, a)
        finally:
            os.kill(answering, signal.SIGKILL)
            os.waitpid(answering, 0)


def _answer(shared: mmap.mmap, core: int) -> None:
    """Copy one byte to the other, for ever."""
    os.sched_setaffinity(0, {core})
    while True:
        shared[PONG] = shared[PING]


def _ask(shared: mmap.mmap, core: int) -> list[int]:
    os.sched_setaffinity(0, {core})
    end, found = time.perf_counter() + SECONDS, list[int]()
    while len(found) < TRIPS and time.perf_counter() < end:
        value = len(found) % 255 + 1  # differs from the one before
        begin = time.perf_counter_ns()
        shared[PING] = value
        while shared[PONG] != value:
            if time.perf_counter() > end:
                return found
        found.append(time.perf_counter_ns() - begin)
    return found


if __name__ == "__main__":
    main()
