"""A latency result as `compare` looks at it."""

from itertools import chain

from crossrun_bench.measurements import facts, turns
from crossrun_bench.measurements.latency.result import LatencyResult, TargetLatency
from crossrun_bench.view.series import Comparable


def comparable(result: LatencyResult) -> Comparable:
    """Each target, with its provider if several were compared, at each batch size."""
    series = [turns.series(_name(target), target.turns).items() for target in result.targets]
    providers = [target.provider for target in result.targets]
    return Comparable(
        facts=facts.of_providers(providers) | facts.of_model(result.model),
        models=[result.model],
        series=dict(chain.from_iterable(series)),
    )


def trips(result: LatencyResult) -> list[int]:
    """Nanoseconds from core to core and back, before each turn that has them."""
    return turns.trips(turn for target in result.targets for turn in target.turns)


def _name(target: TargetLatency) -> str:
    return f"{target.target}, {target.provider.label}" if target.provider else target.target
