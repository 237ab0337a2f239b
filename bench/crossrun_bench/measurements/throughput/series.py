"""A throughput result as `compare` looks at it."""

import numpy as np

from crossrun_bench.measurements import facts
from crossrun_bench.measurements.throughput.result import (
    AloneTurn,
    ProviderThroughput,
    ThroughputResult,
)
from crossrun_bench.view.series import Comparable, Key, Series


def comparable(result: ThroughputResult) -> Comparable:
    """Each provider in process and through our server, at each batch size."""
    cards = {"cards": ", ".join(result.cards) or "none"}
    found = [(_alone(provider) | _served(provider)).items() for provider in result.providers]
    return Comparable(
        facts=cards | facts.of_model(result.model),
        models=[result.model],
        series={key: series for items in found for key, series in items},
    )


def trips(result: ThroughputResult) -> list[int]:
    """Nanoseconds from core to core and back, before each turn that has them."""
    alone = [turn.core_to_core_ns for found in result.providers for turn in found.alone]
    served = [turn.core_to_core_ns for found in result.providers for turn in found.served]
    return [ns for ns in (*alone, *served) if ns is not None]


def _alone(provider: ProviderThroughput) -> dict[Key, Series]:
    """Runs in process, by way, callers and threads."""
    found = {}
    for key in dict.fromkeys(_key(provider, turn) for turn in provider.alone):
        turns = [turn for turn in provider.alone if _key(provider, turn) == key]
        rounds = [np.asarray(turn.ns) / 1e6 for turn in turns]
        rates = [(t.batch * len(t.ns), sum(t.ns) / t.callers / 1e9) for t in turns]
        numbers = [turn.round for turn in turns]
        apart = [turn.core_to_core_ns for turn in turns]
        found[key] = Series(numbers, rounds, np.asarray(rates), apart)
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
            apart = [turn.core_to_core_ns for turn in turns]
            found[key] = Series(numbers, [], np.asarray(rates), apart)
    return found
