"""A load result as `compare` looks at it."""

import numpy as np

from crossrun_bench.measurements import facts
from crossrun_bench.measurements.load.result import LoadResult, LoadTarget, LoadTurn
from crossrun_bench.view.series import Comparable, Key, Series


def comparable(result: LoadResult) -> Comparable:
    """Each target under each load."""
    neighbour = {"neighbour": "a busy core" if result.neighbour else "none"}
    return Comparable(
        facts=neighbour | facts.of_model(result.model),
        models=[result.model],
        series={key: s for target in result.targets for key, s in _loads(target).items()},
        failed=_failed(result),
    )


def trips(result: LoadResult) -> list[int]:
    """Nanoseconds from core to core and back, before each turn that has them."""
    turns = [turn for target in result.targets for turn in target.turns]
    return [turn.core_to_core_ns for turn in turns if turn.core_to_core_ns is not None]


def _loads(target: LoadTarget) -> dict[Key, Series]:
    """Closed loops by clients, open ones by rate, without the probes for the highest rate."""
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


def _failed(result: LoadResult) -> dict[str, int]:
    counts = {t.target: sum(sum(turn.errors.values()) for turn in t.turns) for t in result.targets}
    return {target: count for target, count in counts.items() if count}
