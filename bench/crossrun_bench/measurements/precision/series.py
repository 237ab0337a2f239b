"""A precision result as `compare` looks at it."""

from itertools import chain

from crossrun_bench.measurements import facts, turns
from crossrun_bench.measurements.answers.series import answers
from crossrun_bench.measurements.precision.result import PrecisionResult
from crossrun_bench.view.series import Comparable


def comparable(result: PrecisionResult) -> Comparable:
    """Each model in speed and, if pictures were shown, in answers."""
    models = [measured.model for measured in result.models]
    series = [turns.series(m.model.name, m.turns).items() for m in result.models]
    said = [answers(source.answers).items() for source in result.sources if source.answers]
    sources = {f"source of {model.name}": facts.source(model) for model in models}
    provider = {"provider": str(result.provider)} | facts.of_providers([result.provider])
    return Comparable(
        facts=provider | sources,
        models=models,
        series=dict(chain.from_iterable(series)),
        answers=dict(chain.from_iterable(said)),
    )


def trips(result: PrecisionResult) -> list[int]:
    """Nanoseconds from core to core and back, before each turn that has them."""
    return turns.trips(turn for model in result.models for turn in model.turns)
