"""The highest rate that holds an objective, such as p99 ≤ 10 ms. Knows turns, not servers.

By bisection: from a rate that holds and one that does not, probe the middle. On a noisy machine one
probe decides little, so that the rate which is found has to hold again, and again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crossrun_bench.errors import BenchError
from crossrun_bench.results import Objective
from crossrun_bench.stats import BEYOND, tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from crossrun_bench.results import LoadTurn

    Probe = Callable[[float, int], LoadTurn]  # of a rate, and its number from 1

POINTS = (50.0, 90.0, 95.0, 99.0, 99.9)
TOLERANCE = 0.025  # of the rate: how close the bracket is
KEPT_UP = 0.97  # of what was due, answered within the time; below that a queue grows
CONFIRMATIONS = 3  # probes that all have to hold
LOWEST = 1 / 32  # of the first rate: below that there is no answer
HIGHER = 1.1
_UNITS = {"us": 1, "ms": 1_000, "s": 1_000_000}
_WRITTEN = re.compile(r"p(\d+(?:\.\d+)?)=(\d+(?:\.\d+)?)(us|ms|s)")


@dataclass(frozen=True)
class Highest:
    """The highest rate that held, and the lowest above it that did not; requests a second."""

    rate: float | None  # None where none held
    fails_at: float | None  # None where none failed
    confirmed: int  # probes of `rate`, all of which held
    probes: int


def objective(text: str) -> Objective:
    """Of `p99=10ms`; BenchError for anything else."""
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


def _next(turns: Sequence[LoadTurn], first: float, wanted: Objective) -> float | None:
    found = highest(turns, wanted)
    if found.rate is None:
        lower = min(turn.rate or first for turn in turns) / 2
        return lower if lower >= first * LOWEST else None
    if found.fails_at is None:
        return found.rate * HIGHER
    if found.fails_at - found.rate > TOLERANCE * found.fails_at:
        return (found.rate + found.fails_at) / 2
    return found.rate if found.confirmed < CONFIRMATIONS else None


def highest(turns: Sequence[LoadTurn], wanted: Objective) -> Highest:
    """What probes found: a rate holds if all probes of it did, and of all lower ones."""
    held: dict[float, list[bool]] = {}
    for turn in turns:
        held.setdefault(turn.rate or 0.0, []).append(holds(turn, wanted))
    fails_at = min((rate for rate, found in held.items() if not all(found)), default=None)
    below = [rate for rate in held if fails_at is None or rate < fails_at]
    rate = max(below, default=None)
    return Highest(rate, fails_at, len(held[rate]) if rate is not None else 0, len(turns))
