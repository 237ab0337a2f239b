"""Measures how long the threads of a lane should stay awake for the next work.

Spinning threads answer sooner, but take the cores from everybody else meanwhile. Among the
durations with the best latency, only those with the least CPU time count, and the shortest of
these is chosen. A pause follows each run, as in a server; the threads spin in it for nothing.
Knows runs as plain functions. The caller knows how a thread spins.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import NamedTuple

ROUNDS = 6  # through all durations, so that noise falls on each
RUNS = 3  # of each place in a round, after one that does not count
SECONDS = 1.0  # for all rounds, of which at least one is run
PAUSE = 0.002  # seconds after each run, longer than any duration
LESS = 0.95  # a gain below this share of time or CPU does not count


class Spin(NamedTuple):
    """What was measured of a lane whose threads spin for so long, with all its places at once."""

    duration: int  # microseconds
    latency: float  # seconds, median
    cpu: float  # seconds of this process for each request


def measure(runs: Mapping[int, Callable[[], object]], places: int) -> tuple[Spin, ...]:
    """Measure runs of one request; each run's threads spin for its duration, in microseconds."""
    walls: dict[int, list[float]] = {duration: [] for duration in runs}
    cpus: dict[int, list[float]] = {duration: [] for duration in runs}
    end = time.perf_counter() + SECONDS
    with ThreadPoolExecutor(places) as threads:
        for number in range(ROUNDS):
            if number and time.perf_counter() > end:
                break
            for duration, run in runs.items():
                spent, cpu = _round(threads, run, places)
                walls[duration] += spent
                cpus[duration].append(cpu)
    return tuple(Spin(each, median(walls[each]), median(cpus[each])) for each in runs)


def best(spins: Sequence[Spin]) -> int:
    """Return the best duration, in microseconds."""
    soonest = min(spin.latency for spin in spins)
    good = [spin for spin in spins if spin.latency * LESS <= soonest]
    least = min(spin.cpu for spin in good)
    return min(spin.duration for spin in good if spin.cpu * LESS <= least)


def _round(
    threads: ThreadPoolExecutor, run: Callable[[], object], places: int
) -> tuple[list[float], float]:
    """Return the seconds of each run, and the CPU seconds of one run."""
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
