"""What a classifier's answers come to, computed on reading."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossrun_bench.measurements.accuracy.differences import ClassRow, Flip, by_class, flips
from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.answers.summary import AccuracyRow, accuracy_rows


@dataclass(frozen=True)
class AccuracySummary:
    """A result, a row for each target, and where targets differ from the reference."""

    result: AccuracyResult
    rows: Sequence[AccuracyRow]  # the reference first
    flips: Sequence[Flip]  # the largest difference first
    classes: Sequence[ClassRow]  # the one with most flips first


def summarise(result: AccuracyResult) -> AccuracySummary:
    """All that is shown of a result."""
    return AccuracySummary(result, accuracy_rows(result), flips(result), by_class(result))
