"""Which metrics of which targets a result tells of: what a comparison has to cover."""

from collections.abc import Iterator, Mapping

from crossrun_bench.compare.series import Key, Series
from crossrun_bench.measurements.accuracy.result import AccuracyResult, Comparison
from crossrun_bench.measurements.kinds import Result
from crossrun_bench.measurements.load.result import LoadResult
from crossrun_bench.measurements.loadgen.result import LoadGenResult, ScenarioRun
from crossrun_bench.measurements.loadgen.rules import PERCENTILES
from crossrun_bench.measurements.precision.result import PrecisionResult

TIMES = ("p50", "p90", "p99")
Row = tuple[str, str, str]  # target, setting, metric


def rows(result: Result, found: Mapping[Key, Series], reference: str | None) -> set[Row]:
    """All rows of a result whose series are known, without speeds of the reference."""
    timed = ((key, series) for key, series in found.items() if key[0] != reference)
    told = {(*key, metric) for key, series in timed for metric in _metrics(series)}
    return told | set(_scenarios(result)) | set(_answers(result))


def comparisons(result: Result) -> dict[str, Comparison]:
    """By target what it was compared in, but for the reference; of precisions by model."""
    if isinstance(result, AccuracyResult):
        found: list[Comparison] = [result]
    elif isinstance(result, PrecisionResult):
        found = [source.answers for source in result.sources if source.answers]
    else:
        found = []
    return {target.target: said for said in found for target in said.targets[1:]}


def setting_of(comparison: Comparison) -> str:
    """The setting under which answers are compared."""
    return f"{len(comparison.pictures):,} pictures"


def failed(result: Result) -> dict[str, int]:
    """Requests that are in no figure, for they ended in an error, by target."""
    if not isinstance(result, LoadResult):
        return {}
    counts = {t.target: sum(sum(turn.errors.values()) for turn in t.turns) for t in result.targets}
    return {target: count for target, count in counts.items() if count}


def _metrics(series: Series) -> tuple[str, ...]:
    return (*(TIMES if series.answered else ()), "throughput")


def _scenarios(result: Result) -> Iterator[Row]:
    if isinstance(result, LoadGenResult):
        for run in result.runs:
            yield from ((result.target, run.scenario, name) for name in _scored(run, result))


def _scored(run: ScenarioRun, result: LoadGenResult) -> Iterator[str]:
    if run.latency_ns is not None:
        yield PERCENTILES[run.scenario]
    if run.per_second is not None:
        yield "throughput"
    if run.classes is not None and result.labels is not None:
        yield "top1"


def _answers(result: Result) -> Iterator[Row]:
    for target, comparison in comparisons(result).items():
        metrics = ("agreement",) if comparison.labels is None else ("top1", "agreement")
        yield from ((target, setting_of(comparison), metric) for metric in metrics)
