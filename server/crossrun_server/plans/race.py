"""Times one request on several providers in turns, and says which of them answers soonest.

Knows runs as plain functions, by any name.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import NamedTuple

from crossrun_server import cores
from crossrun_server.plans import core_distance

MOST, LEAST = 20, 5  # rounds through all, so that noise falls on each
SECONDS = 2.0  # for each of those that run; no round begins later, once LEAST are over
RUNS, TURN = 3, 0.1  # of a turn, after one that does not count: at most, and seconds
REST = 0.02  # seconds before a turn, until the threads of the turn before sleep
# One is faster than another if the median round says so by more than SOONER, and USUALLY all agree.
SOONER, USUALLY = 0.95, 0.9


@dataclass(frozen=True)
class Race:
    """What was measured: the median of each turn, in seconds; the rounds are in order."""

    turns: Mapping[str, Sequence[float]]
    trips: tuple[int, ...]  # nanoseconds from core to core and back, around each round
    waited: float  # share of the time in which the caller had no core

    @property
    def winner(self) -> str:
        """The first of those that the soonest does not beat by more than noise."""
        soonest = min(self.turns, key=self.seconds)
        return next(name for name in self.turns if not self._beats(soonest, name))

    def seconds(self, name: str) -> float:
        """The median of all turns."""
        return median(self.turns[name])

    def _beats(self, name: str, other: str) -> bool:
        pairs = zip(self.turns[name], self.turns[other], strict=True)
        ratios = [own / theirs for own, theirs in pairs]
        sooner = sum(ratio < 1 for ratio in ratios)
        return median(ratios) <= SOONER and sooner >= USUALLY * len(ratios)


def run(runs: Mapping[str, Callable[[], object]]) -> Race:
    """Measure runs of one request; of those that are as fast as each other, the first wins."""
    turns: dict[str, list[_Turn]] = {name: [] for name in runs}
    end = time.perf_counter() + SECONDS * len(runs)
    trips = [core_distance.nanoseconds()]
    for number in range(MOST):
        if number >= LEAST and time.perf_counter() > end:
            break
        for name, one in runs.items():
            turns[name].append(_turn(one))
        trips.append(core_distance.nanoseconds())
    every = [turn for each in turns.values() for turn in each]
    return Race(
        turns={name: [turn.seconds for turn in each] for name, each in turns.items()},
        trips=tuple(ns for ns in trips if ns is not None),
        waited=sum(turn.waited for turn in every) / sum(turn.spent for turn in every),
    )


class _Turn(NamedTuple):
    seconds: float  # of one run, median
    spent: float  # seconds in all
    waited: float  # of these, without a core


def _turn(one: Callable[[], object]) -> _Turn:
    time.sleep(REST)
    one()
    waited, end, found = cores.waited(), time.perf_counter() + TURN, list[float]()
    while len(found) < RUNS and (not found or time.perf_counter() < end):
        begin = time.perf_counter()
        one()
        found.append(time.perf_counter() - begin)
    return _Turn(median(found), sum(found), cores.waited() - waited)
