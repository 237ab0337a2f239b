"""What is read of one loaded model at one moment, and what several processes read together."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from crossrun_server.telemetry.statistics import Counters, added


@dataclass(frozen=True)
class Reading:
    """One loaded model at one moment."""

    labels: tuple[str, str, str]
    counters: Counters
    pending: int
    nodes: dict[str, int]
    cached: bool
    difference: float | None = None  # the largest that was found before it served
    agreement: float | None = None  # the least
    asked_precision: str = ""  # in what its provider was told to compute fp32


def merged(readings: Iterable[Reading]) -> list[Reading]:
    """Add up what several processes have read; the nodes are the same in all of them."""
    totals: dict[tuple[str, str, str], Reading] = {}
    for reading in readings:
        before = totals.get(reading.labels)
        totals[reading.labels] = reading if before is None else _added(before, reading)
    return list(totals.values())


def _added(one: Reading, other: Reading) -> Reading:
    return replace(
        one,
        counters=added(one.counters, other.counters),
        pending=one.pending + other.pending,
        cached=one.cached or other.cached,
        difference=max(known((one.difference, other.difference)), default=None),
        agreement=min(known((one.agreement, other.agreement)), default=None),
    )


def known(values: Iterable[float | None]) -> list[float]:
    """Return those that were found."""
    return [value for value in values if value is not None]
