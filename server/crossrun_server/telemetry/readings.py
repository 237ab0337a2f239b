"""All figures of one process at one moment, and their sum over several processes."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from crossrun_server.telemetry.failures import Failure
from crossrun_server.telemetry.statistics import Counters, added

T = TypeVar("T")


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


@dataclass(frozen=True)
class Snapshot:
    """The figures of a process, or of several together, at one moment."""

    models: tuple[Reading, ...] = ()
    failures: Mapping[Failure, int] = field(default_factory=dict)
    dropped_spans: int = 0
    bytes_in_flight: int = 0
    connections: int | None = None  # None: the front end does not tell
    processes: Mapping[str, int] = field(default_factory=dict)  # what each does → its id

    def remains(self) -> "Snapshot":
        """Return what counts on once the process has ended."""
        models = tuple(replace(model, pending=0) for model in self.models)
        return Snapshot(models, self.failures, self.dropped_spans)

    def without(self, model: str) -> "Snapshot":
        """Return all but the figures of a model."""
        others = tuple(reading for reading in self.models if reading.labels[0] != model)
        return replace(self, models=others)


def total(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Add up the figures of several processes."""
    found = list(snapshots)
    failures: Counter[Failure] = Counter()
    for snapshot in found:
        failures.update(snapshot.failures)
    connections = known(snapshot.connections for snapshot in found)
    return Snapshot(
        models=tuple(merged(reading for snapshot in found for reading in snapshot.models)),
        failures=dict(failures),
        dropped_spans=sum(snapshot.dropped_spans for snapshot in found),
        bytes_in_flight=sum(snapshot.bytes_in_flight for snapshot in found),
        connections=sum(connections) if connections else None,
        processes={what: pid for snapshot in found for what, pid in snapshot.processes.items()},
    )


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


def known(values: Iterable[T | None]) -> list[T]:
    """Return the values that are not None."""
    return [value for value in values if value is not None]
