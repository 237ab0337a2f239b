"""Turns of requests in interleaved rounds: times, medians, ratios. Knows no target."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from crossrun_bench.stats import Ratio, paired_ratio
from crossrun_bench.view.series import Key, Series


@dataclass(frozen=True)
class Turn:
    """One target's requests, one after another, until its time was up."""

    batch: int  # pictures in each request
    round: int  # from 1; 0 is the turn that warms up and counts nowhere
    started_ns: int  # monotonic clock, the same for all turns of a file
    warmup: int  # how many of `ns`, from the first, are warm-ups
    ns: tuple[int, ...]  # how long each request took
    core_to_core_ns: int | None = None  # just before, see `core_to_core`; null if not known


def requests(turns: Sequence[Turn], batch: int) -> list[int]:
    """Nanoseconds of each request at one batch size, without warm-ups."""
    return [ns for turn in turns if turn.batch == batch for ns in turn.ns[turn.warmup :]]


def ratio(slow: Sequence[Turn], fast: Sequence[Turn], batch: int) -> Ratio:
    """Of the medians of each round that both took part in."""
    a, b = _medians(slow, batch), _medians(fast, batch)
    rounds = sorted(a.keys() & b.keys())
    return paired_ratio([a[r] for r in rounds], [b[r] for r in rounds])


def _medians(turns: Sequence[Turn], batch: int) -> dict[int, float]:
    return {turn.round: median(turn.ns[turn.warmup :]) for turn in _counted(turns, batch)}


def _counted(turns: Sequence[Turn], batch: int) -> list[Turn]:
    return [turn for turn in turns if turn.batch == batch and turn.warmup < len(turn.ns)]


def series(target: str, turns: Sequence[Turn]) -> dict[Key, Series]:
    """For each batch size that a request was answered at."""
    found = {}
    for batch in dict.fromkeys(turn.batch for turn in turns):
        counted = _counted(turns, batch)
        rounds = [np.asarray(t.ns[t.warmup :]) / 1e6 for t in counted]
        rates = [(batch * len(ms), ms.sum() / 1e3) for ms in rounds]
        if rounds:
            numbers = [turn.round for turn in counted]
            trips = [turn.core_to_core_ns for turn in counted]
            found[target, f"batch {batch}"] = Series(numbers, rounds, np.asarray(rates), trips)
    return found


def trips(turns: Iterable[Turn]) -> list[int]:
    """Nanoseconds from core to core and back, before each turn that has them."""
    return [turn.core_to_core_ns for turn in turns if turn.core_to_core_ns is not None]
