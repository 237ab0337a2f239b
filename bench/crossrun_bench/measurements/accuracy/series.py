"""An accuracy result as `compare` looks at it."""

from crossrun_bench.measurements import facts
from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.answers.series import answers
from crossrun_bench.view.series import Comparable


def comparable(result: AccuracyResult) -> Comparable:
    """The answers of each target, but for the reference."""
    return Comparable(
        facts=facts.of_model(result.model), models=[result.model], answers=answers(result)
    )
