"""The accuracy of LoadGen's runs, computed on reading: LoadGen itself summarised the rest."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossrun_bench.measurements.loadgen.result import LoadGenResult, ScenarioRun


@dataclass(frozen=True)
class LoadGenRow:
    """One run, and the share of its first classes that are right, 0 to 1; None if not asked."""

    run: ScenarioRun
    top1: float | None
    of_fp32: float | None  # by the share that the fp32 model gets right


@dataclass(frozen=True)
class LoadGenSummary:
    """A result, and a row for each scenario."""

    result: LoadGenResult
    rows: Sequence[LoadGenRow]


def summarise(result: LoadGenResult) -> LoadGenSummary:
    """All that is shown of a result."""
    return LoadGenSummary(result, [_row(run, result) for run in result.runs])


def _row(run: ScenarioRun, result: LoadGenResult) -> LoadGenRow:
    own, fp32 = _top1(run.classes, result.labels), _top1(result.reference, result.labels)
    return LoadGenRow(run, own, None if own is None or not fp32 else own / fp32)


def _top1(classes: Sequence[int] | None, labels: Sequence[int] | None) -> float | None:
    if classes is None or labels is None:
        return None
    return sum(correct(classes, labels)) / len(labels)


def correct(classes: Sequence[int], labels: Sequence[int]) -> list[bool]:
    """For each picture whether the class is its label."""
    return [said == label for said, label in zip(classes, labels, strict=True)]
