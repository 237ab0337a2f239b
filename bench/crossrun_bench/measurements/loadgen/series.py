"""A LoadGen result as `compare` looks at it."""

from collections.abc import Hashable, Iterator

from crossrun_bench.measurements import facts
from crossrun_bench.measurements.loadgen.result import LoadGenResult
from crossrun_bench.measurements.loadgen.rules import PERCENTILES
from crossrun_bench.measurements.loadgen.summary import correct
from crossrun_bench.view.series import Answers, Comparable, Row


def comparable(result: LoadGenResult) -> Comparable:
    """Each scenario: what LoadGen scored in one run, and answers if it asked for them."""
    invalid = ", ".join(run.scenario for run in result.runs if not run.valid)
    return Comparable(
        facts=facts.of_model(result.model),
        models=[result.model],
        once=dict(_scores(result)),
        answers=dict(_answers(result)),
        warnings=[f"LoadGen calls invalid: {invalid}."] if invalid else [],
    )


def _scores(result: LoadGenResult) -> Iterator[tuple[Row, float]]:
    """Milliseconds, and queries or pictures a second."""
    for run in result.runs:
        if run.latency_ns is not None:
            yield (result.target, run.scenario, PERCENTILES[run.scenario]), run.latency_ns / 1e6
        if run.per_second is not None:
            yield (result.target, run.scenario, "throughput"), run.per_second


def _answers(result: LoadGenResult) -> Iterator[tuple[Hashable, Answers]]:
    """Of the same target in the same scenario to pictures with the same labels."""
    for run in result.runs:
        if run.classes is not None and result.labels is not None:
            key = result.target, run.scenario, result.labels
            right = correct(run.classes, result.labels)
            yield key, Answers(result.target, run.scenario, (), result.labels, right, None)
