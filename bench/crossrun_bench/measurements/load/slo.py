"""The highest rate that holds an objective, such as p99 ≤ 10 ms. Knows turns, not servers.

By bisection: from a rate that holds and one that does not, probe the middle. On a noisy machine one
probe decides little: a rate fails where two probes of it did, and what is found has to hold thrice.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.load.result import LoadTurn, Objective
from crossrun_bench.stats import BEYOND, tail

Probe = Callable[[float, int], LoadTurn]  # of a rate, and its number from 1

POINTS = (50.0, 90.0, 95.0, 99.0, 99.9)
TOLERANCE = 0.025  # of the rate: how close the bracket is
KEPT_UP = 0.97  # of what was due, answered within the time; below that a queue grows
FAILURES = 2  # probes that rule a rate out
CONFIRMATIONS = 3  # probes that have to hold before fewer than that failed
LOWEST = 1 / 32  # of the first rate: below that there is no answer
HIGHER = 1.1
_UNITS = {"us": 1, "ms": 1_000, "s": 1_000_000}
_WRITTEN = re.compile(r"p(\d+(?:\.\d+)?)=(\d+(?:\.\d+)?)(us|ms|s)")


@dataclass(frozen=True)
class Highest:
    """The highest rate that held, and the lowest above it that did not; requests a second."""

    rate: float | None  # None if none held
    fails_at: float | None  # None if none failed
    held: int  # probes of `rate` that held
    asked: int  # all probes of it
    probes: int  # of all rates


def objective(text: str) -> Objective:
    """The objective that a text such as `p99=10ms` names.

    Raises:
        BenchError: the text names none.
    """
    match = _WRITTEN.fullmatch(text)
    if not match or float(match[1]) not in POINTS or not float(match[2]):
        points = ", ".join(f"p{point:g}" for point in POINTS)
        raise BenchError(f"--slo '{text}': expected one of {points} and us, ms or s, as p99=10ms")
    return Objective(float(match[1]), float(match[2]) * _UNITS[match[3]])


def needed(wanted: Objective) -> int:
    """So many requests that the percentile can be told."""
    return round(100 * BEYOND / (100 - wanted.point))


def holds(turn: LoadTurn, wanted: Objective) -> bool:
    """Whether nothing failed, no queue grew, and the percentile is within the limit."""
    if turn.errors or sum(turn.ended) < KEPT_UP * len(turn.us):
        return False
    found = tail(turn.us, wanted.point)
    return found is not None and found <= wanted.limit_us


def search(probe: Probe, first: float, wanted: Objective) -> Iterator[LoadTurn]:
    """Probe rates from `first` on until the bracket is narrow and its lower end confirmed."""
    turns: list[LoadTurn] = []
    rate: float | None = first
    while rate is not None:
        turns.append(probe(rate, len(turns) + 1))
        yield turns[-1]
        rate = _next(turns, first, wanted)


def interleaved(searches: Mapping[str, Iterator[LoadTurn]]) -> Iterator[tuple[str, LoadTurn]]:
    """A probe of each in turn, A B C A B C, until none has any left: noise falls on all."""
    left = dict(searches)
    while left:
        for name, search in list(left.items()):
            turn = next(search, None)
            if turn is None:
                del left[name]
            else:
                yield name, turn


def _next(turns: Sequence[LoadTurn], first: float, wanted: Objective) -> float | None:
    last, (held, failed) = turns[-1], _verdicts(turns, wanted)
    if not holds(last, wanted) and failed[_rate(last)] < FAILURES:
        return last.rate
    found = highest(turns, wanted)
    if found.rate is None:
        lower = min(map(_rate, turns)) / 2
        return lower if lower >= first * LOWEST else None
    if found.fails_at is None:
        return found.rate * HIGHER
    if found.fails_at - found.rate > TOLERANCE * found.fails_at:
        return (found.rate + found.fails_at) / 2
    return found.rate if held[found.rate] < CONFIRMATIONS else None


def highest(turns: Sequence[LoadTurn], wanted: Objective) -> Highest:
    """What probes found. A rate holds if a probe of it did, and no rate up to it failed twice."""
    held, failed = _verdicts(turns, wanted)
    fails_at = min((rate for rate in failed if failed[rate] >= FAILURES), default=None)
    rate = max((rate for rate in held if fails_at is None or rate < fails_at), default=None)
    if rate is None:
        return Highest(None, fails_at, 0, 0, len(turns))
    return Highest(rate, fails_at, held[rate], held[rate] + failed[rate], len(turns))


def _verdicts(
    turns: Sequence[LoadTurn], wanted: Objective
) -> tuple[Counter[float], Counter[float]]:
    """How many probes of each rate held, and how many did not."""
    held, failed = Counter[float](), Counter[float]()
    for turn in turns:
        (held if holds(turn, wanted) else failed)[_rate(turn)] += 1
    return held, failed


def _rate(turn: LoadTurn) -> float:
    return turn.rate or 0.0
