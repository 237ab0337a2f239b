"""How far apart two cores are: the time in which a byte goes from one to the other and back.

If a hypervisor moves a virtual core to another part of the processor, threads that compute one
model together become slower, and neither the load nor the stolen time shows it.

The module also runs as a program of its own, without site-packages, because a process that is
bound to a core would bind the server's threads. It imports nothing of ours.
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
CORES = 4  # at most, spread evenly over ours
ASKED, ANSWERED = 0, 128  # places of two bytes in cache lines that are not neighbours


def nanoseconds() -> int | None:
    """Return the median round trip between the two of our cores that are furthest apart.

    Returns:
        None if there is one core, if a process cannot choose its core, or if others hold them.
    """
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        return None
    command = [sys.executable, "-I", "-S", __file__]
    try:
        told = subprocess.run(command, capture_output=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):  # such as a container without room for processes
        return None
    return int(told) if told.strip() else None


def main() -> None:
    """Print what `nanoseconds` returns, or nothing."""
    ours = sorted(os.sched_getaffinity(0))
    some = ours[:: max(1, len(ours) // CORES)][:CORES]
    found = [trips for pair in combinations(some, 2) if len(trips := _trips(*pair)) >= LEAST]
    if found:
        sys.stdout.write(f"{max(sorted(trips)[len(trips) // 2] for trips in found)}\n")


def _trips(a: int, b: int) -> list[int]:
    """Return the nanoseconds of each round trip from core `a` to core `b`."""
    with mmap.mmap(-1, mmap.PAGESIZE) as shared:
        child = os.fork()
        if not child:
            _answer(shared, b)
        try:
            return _ask(shared, a)
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _answer(shared: mmap.mmap, core: int) -> None:
    """Copy one byte to the other until killed."""
    os.sched_setaffinity(0, {core})
    while True:
        shared[ANSWERED] = shared[ASKED]


def _ask(shared: mmap.mmap, core: int) -> list[int]:
    os.sched_setaffinity(0, {core})
    end, found = time.perf_counter() + SECONDS, list[int]()
    while len(found) < TRIPS:
        value = len(found) % 255 + 1  # differs from the one before
        begin = time.perf_counter_ns()
        shared[ASKED] = value
        while shared[ANSWERED] != value:
            if time.perf_counter() > end:
                return found
        found.append(time.perf_counter_ns() - begin)
    return found


if __name__ == "__main__":
    main()
