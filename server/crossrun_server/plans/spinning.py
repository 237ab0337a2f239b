"""How long the threads of a lane had better stay awake for the next work: found by measurement.

Spinning threads answer sooner and take the cores from everybody else meanwhile; so of the durations
that answer as soon as the best and cost no more CPU than the thriftiest of these, the shortest is
taken. After each run comes a pause, as in a server, in which they spin in vain.
Knows runs as plain functions; how a thread spins, the caller knows.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import NamedTuple

ROUNDS = 6  # through all durations, so that a noisy moment falls on each
RUNS = 3  # of each place in a round, after one that is not counted
SECONDS = 1.0  # for all rounds; one is made in any case
PAUSE = 0.002  # seconds after each run, longer than any duration
LESS = 0.95  # time or CPU that is worth having


class Spin(NamedTuple):
    """A lane whose threads spin for so long, all its places at once."""

    duration: int  # microseconds
    latency: float  # seconds, median
    cpu: float  # seconds for each request, of this whole process


def measure(runs: Mapping[int, Callable[[], object]], places: int) -> tuple[Spin, ...]:
    """Measure what runs one request with threads that spin, for each duration in microseconds."""
    walls: dict[int, list[float]] = {duration: [] for duration in runs}
    cpus: dict[int, list[float]] = {duration: [] for duration in runs}
    end = time.perf_counter() + SECONDS
    with ThreadPoolExecutor(places) as threads:
        for place in range(ROUNDS):
            if place and time.perf_counter() > end:
                break
            for duration, run in runs.items():
                spent, cpu = _round(threads, run, places)
                walls[duration] += spent
                cpus[duration].append(cpu)
    return tuple(Spin(each, median(walls[each]), median(cpus[each])) for each in runs)


def best(spins: Sequence[Spin]) -> int:
    """Choose a duration, in microseconds."""
    soonest = min(spin.latency for spin in spins)
    good = [spin for spin in spins if spin.latency * LESS <= soonest]
    least = min(spin.cpu for spin in good)
    return min(spin.duration for spin in good if spin.cpu * LESS <= least)


def _round(
    threads: ThreadPoolExecutor, run: Callable[[], object], places: int
) -> tuple[list[float], float]:
    """Seconds of each run, and of CPU for one."""
    list(threads.map(lambda _: run(), range(places)))
    begin = time.process_time()
    spent = [wall for walls in threads.map(lambda _: _timed(run), range(places)) for wall in walls]
    return spent, (time.process_time() - begin) / len(spent)


def _timed(run: Callable[[], object]) -> list[float]:
    found = []
    for _ in range(RUNS):
        begin = time.perf_counter()
        run()
        found.append(time.perf_counter() - begin)
        time.sleep(PAUSE)
    return found
