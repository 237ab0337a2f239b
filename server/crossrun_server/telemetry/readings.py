"""All figures of one loaded model at one moment, and their sum over several processes."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from crossrun_server.telemetry.statistics import Counters, added


@dataclass(frozen=True)
class Reading:
    """The figures of one loaded model at one moment."""

    labels: tuple[str, str, str]
    counters: Counters
    pending: int
    nodes: dict[str, int]
    cached: bool
    difference: float | None = None  # the largest of its proof
    agreement: float | None = None  # the least of its proof
    asked_precision: str = ""  # that its provider was told to compute fp32 in


def merged(readings: Iterable[Reading]) -> list[Reading]:
    """Add up the readings of several processes; the nodes are the same in all of them."""
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
    """Return the values that are not None."""
    return [value for value in values if value is not None]
