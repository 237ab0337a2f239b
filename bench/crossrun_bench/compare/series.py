"""What each target answered at each setting, round by round, in any kind of result."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.measurements.kinds import Result
from crossrun_bench.measurements.latency.result import LatencyResult, TargetLatency, Turn
from crossrun_bench.measurements.load.result import LoadResult, LoadTarget, LoadTurn
from crossrun_bench.measurements.precision.result import PrecisionResult
from crossrun_bench.measurements.throughput.result import (
    AloneTurn,
    ProviderThroughput,
    ThroughputResult,
)

Key = tuple[str, str]  # target and setting


@dataclass(frozen=True)
class Series:
    """What one target answered at one setting."""

    numbers: list[int]  # of the rounds
    rounds: list[
        NDArray[Any]
    ]  # milliseconds of each request; no rounds where they were only counted
    rates: NDArray[Any]  # a row (pictures answered, seconds) for each round
    trips: list[int | None]  # nanoseconds from core to core and back before each round, where known

    @property
    def answered(self) -> list[NDArray[Any]]:
        """The rounds in which a request was answered, and timed."""
        return [times for times in self.rounds if len(times)]

    def only(self, places: Sequence[int]) -> "Series":
        """Some of its rounds, by where they stand."""
        return Series(
            [self.numbers[i] for i in places],
            [self.rounds[i] for i in places] if self.rounds else [],
            self.rates[list(places)],
            [self.trips[i] for i in places],
        )


def series(result: Result) -> dict[Key, Series]:
    """By target and setting, in the order measured; those without an answer are left out."""
    if isinstance(result, LatencyResult):
        return {key: s for t in result.targets for key, s in _turns(_name(t), t.turns).items()}
    if isinstance(result, PrecisionResult):
        models = [model for source in result.sources for model in source.models]
        return {key: s for m in models for key, s in _turns(m.model.name, m.turns).items()}
    if isinstance(result, LoadResult):
        return {key: s for t in result.targets for key, s in _loads(t).items()}
    if isinstance(result, ThroughputResult):
        return {key: s for p in result.providers for key, s in (_alone(p) | _served(p)).items()}
    return {}


def _name(target: TargetLatency) -> str:
    """The target's, with its provider where several were compared."""
    return f"{target.target}, {target.provider.label}" if target.provider else target.target


def _turns(target: str, turns: Sequence[Turn]) -> dict[Key, Series]:
    found = {}
    for batch in dict.fromkeys(turn.batch for turn in turns):
        counted = [t for t in turns if t.batch == batch and t.warmup < len(t.ns)]
        rounds = [np.asarray(t.ns[t.warmup :]) / 1e6 for t in counted]
        rates = [(batch * len(ms), ms.sum() / 1e3) for ms in rounds]
        if rounds:
            numbers = [turn.round for turn in counted]
            trips = [turn.core_to_core_ns for turn in counted]
            found[target, f"batch {batch}"] = Series(numbers, rounds, np.asarray(rates), trips)
    return found


def _loads(target: LoadTarget) -> dict[Key, Series]:
    """Closed loops by clients, open ones by rate; what only looked for a rate is left out."""
    found = {}
    planned = [turn for turn in target.turns if not turn.probe]
    for load in dict.fromkeys(map(_load, planned)):
        turns = [turn for turn in planned if _load(turn) == load]
        rounds = [np.asarray(turn.us) / 1e3 for turn in turns]
        rates = [(len(turn.us), turn.wall_ns / 1e9) for turn in turns]
        if any(turn.us for turn in turns):
            numbers = [turn.round for turn in turns]
            trips = [turn.core_to_core_ns for turn in turns]
            found[target.target, load] = Series(numbers, rounds, np.asarray(rates), trips)
    return found


def _load(turn: LoadTurn) -> str:
    if turn.rate is not None:
        return f"{turn.rate:g}/s"
    return f"{turn.clients} client{'s' if turn.clients > 1 else ''}"


def _alone(provider: ProviderThroughput) -> dict[Key, Series]:
    """Runs in process, by way, callers and threads."""
    found = {}
    for key in dict.fromkeys(_key(provider, turn) for turn in provider.alone):
        turns = [turn for turn in provider.alone if _key(provider, turn) == key]
        rounds = [np.asarray(turn.ns) / 1e6 for turn in turns]
        rates = [(t.batch * len(t.ns), sum(t.ns) / t.callers / 1e9) for t in turns]
        numbers = [turn.round for turn in turns]
        found[key] = Series(numbers, rounds, np.asarray(rates), [None] * len(turns))
    return found


def _key(provider: ProviderThroughput, turn: AloneTurn) -> Key:
    target = f"{provider.provider} {turn.way} {turn.callers}x{turn.threads}"
    return target, f"batch {turn.batch}"


def _served(provider: ProviderThroughput) -> dict[Key, Series]:
    """Our server by batch size: its answers were counted, not timed."""
    found = {}
    for batch in dict.fromkeys(turn.batch for turn in provider.served):
        turns = [turn for turn in provider.served if turn.batch == batch]
        rates = [(batch * turn.answered, turn.wall_ns / 1e9) for turn in turns]
        if any(turn.answered for turn in turns):
            numbers = [turn.round for turn in turns]
            key = f"{provider.provider} served", f"batch {batch}"
            found[key] = Series(numbers, [], np.asarray(rates), [None] * len(turns))
    return found
