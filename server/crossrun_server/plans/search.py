"""Finds a model's plan by measuring latency and throughput of lanes of a few widths.

Knows runs as plain functions. The caller opens a lane of so many threads.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from statistics import median
from typing import NamedTuple

import numpy as np

from crossrun_server import cores
from crossrun_server.plans import core_distance, spinning
from crossrun_server.plans.lane_plan import LaneSpec, Plan
from crossrun_server.plans.spinning import Spin
from crossrun_server.scheduling.batching import Run, Tensors

RUNS, LEAST = 15, 3  # of one request, for each figure: at most, and at least
SECONDS = 0.25  # for each figure
# More threads must lower the latency to SOONER; wider lanes or batches must raise the rate to MORE.
SOONER, MORE = 0.95, 1.05
BATCHES = (4, 8, 16)

OpenLane = Callable[[int, int | None], Run]


class Point(NamedTuple):
    """What was measured of a lane alone: one request at a time, and all its places at once."""

    lane: LaneSpec
    latency: float  # seconds, median
    rate: float  # rows per second
    waited: float = 0.0  # share of the time in which the callers had no core


class _Timing(NamedTuple):
    """What was measured of some runs on one thread."""

    seconds: list[float]  # of each
    waited: float  # seconds without a core, of all runs


@dataclass(frozen=True)
class MeasuredPlan:
    """A plan, and the figures behind it."""

    plan: Plan
    curve: tuple[Point, ...]  # the widest first
    batches: tuple[tuple[int, float], ...]  # rows of a batch, and rows per second of one place
    spins: Mapping[LaneSpec, tuple[Spin, ...]]  # of each lane of the plan with several threads
    trips: tuple[int, ...] = ()  # nanoseconds from core to core and back, between the parts
    doubt: str = ""  # why it is not kept; empty if it is

    @property
    def disturbed(self) -> float:
        """The share of the time in which other processes had the cores, from one-thread lanes."""
        return self.curve[-1].waited


def measure_plan(  # noqa: PLR0913 - a machine, a model, and one request
    open_lane: OpenLane,
    *,
    core_count: int,
    durations: Sequence[int],
    inputs: Tensors,
    outputs: Sequence[str],
    most: int,
) -> MeasuredPlan:
    """Measure lanes of all cores, of half of them, and so on down to one thread.

    Args:
        open_lane: returns a run for a number of threads, and the microseconds that they spin; None
            for the default. The run may be called from several threads at once.
        core_count: how many cores there are.
        durations: that threads may spin for, in microseconds.
        inputs: one request of one row.
        outputs: the outputs to ask for.
        most: the most rows of a batch; 0 if there are no batches.
    """
    curve, trips = [], [core_distance.nanoseconds()]
    for threads in widths(core_count):
        lane, run = LaneSpec(core_count // threads, threads), open_lane(threads, None)
        curve.append(_point(lane, partial(run, inputs, outputs)))
        trips.append(core_distance.nanoseconds())
    narrow = narrowest_that_pays(curve)
    batches = _batches(open_lane(narrow.lane.threads, None), inputs, outputs, most)
    trips.append(core_distance.nanoseconds())
    chosen, spins = choose(curve, batches), {}
    for lane in (lane for lane in chosen.lanes if lane.threads > 1):
        runs = {us: partial(open_lane(lane.threads, us), inputs, outputs) for us in durations}
        spins[lane] = spinning.measure(runs, lane.places)
    trips.append(core_distance.nanoseconds())
    return MeasuredPlan(
        plan=replace(chosen, lanes=tuple(_spun(chosen.lanes, spins))),
        curve=tuple(curve),
        batches=tuple(batches),
        spins=spins,
        trips=tuple(ns for ns in trips if ns is not None),
    )


def _spun(
    lanes: Iterable[LaneSpec], spins: Mapping[LaneSpec, tuple[Spin, ...]]
) -> Iterator[LaneSpec]:
    """Yield the lanes, those that were measured with the duration that is best for them."""
    for lane in lanes:
        yield lane._replace(spin=spinning.best(spins[lane])) if lane in spins else lane


def widths(core_count: int) -> list[int]:
    """Return the numbers of threads of the lanes to try."""
    found = [core_count]
    while found[-1] > 1:
        found.append(found[-1] // 2)
    return found


def choose(curve: Sequence[Point], batches: Sequence[tuple[int, float]] = ()) -> Plan:
    """Choose the lane with the lowest latency and the one with the highest rate; maybe the same."""
    wide, narrow = _soonest(curve), narrowest_that_pays(curve)
    lanes = [wide.lane] if wide.lane.threads > narrow.lane.threads else []
    return Plan((*lanes, narrow.lane), _smallest_that_pays(batches))


def narrowest_that_pays(curve: Sequence[Point]) -> Point:
    """Return the narrowest lane whose rate is as good as the best."""
    best = max(point.rate for point in curve)
    return min(
        (point for point in curve if point.rate * MORE >= best),
        key=lambda point: point.lane.threads,
    )


def _soonest(curve: Sequence[Point]) -> Point:
    """Return the narrowest lane whose latency is as good as the best."""
    best = min(point.latency for point in curve)
    good = [point for point in curve if point.latency * SOONER <= best]
    return min(good, key=lambda point: point.lane.threads)


def _smallest_that_pays(batches: Sequence[tuple[int, float]]) -> int:
    """Return the rows of the smallest batch as good as the best; 1 if no batch pays."""
    if not batches or max(rate for _, rate in batches) < MORE * batches[0][1]:
        return 1
    best = max(rate for _, rate in batches)
    return next(rows for rows, rate in batches if rate * MORE >= best)


def at_once(runs: Sequence[Callable[[], object]]) -> tuple[float, float]:
    """Run all of these at once, again and again.

    Returns:
        How many runs end in a second, and the share of the time in which the callers had no core.
    """
    with ThreadPoolExecutor(len(runs)) as threads:
        found = list(threads.map(_timed, runs))
    rate = sum(len(seconds) / sum(seconds) for seconds, _ in found)
    spent = sum(sum(seconds) for seconds, _ in found)
    return rate, sum(timing.waited for timing in found) / spent


def _point(lane: LaneSpec, run: Callable[[], object]) -> Point:
    alone = _timed(run)
    latency = median(alone.seconds)
    if lane.places == 1:
        return Point(lane, latency, 1 / latency, alone.waited / sum(alone.seconds))
    return Point(lane, latency, *at_once([run] * lane.places))


def _timed(run: Callable[[], object]) -> _Timing:
    """Time some runs, after one that does not count."""
    run()
    waited, end, found = cores.waited(), time.perf_counter() + SECONDS, list[float]()
    while len(found) < LEAST or (len(found) < RUNS and time.perf_counter() < end):
        begin = time.perf_counter()
        run()
        found.append(time.perf_counter() - begin)
    return _Timing(found, cores.waited() - waited)


def _batches(
    run: Run, inputs: Tensors, outputs: Sequence[str], most: int
) -> list[tuple[int, float]]:
    found = []
    for rows in (1, *(rows for rows in BATCHES if rows <= most)) if most else ():
        batch = {name: np.repeat(array, rows, axis=0) for name, array in inputs.items()}
        found.append((rows, rows / median(_timed(partial(run, batch, outputs)).seconds)))
    return found
