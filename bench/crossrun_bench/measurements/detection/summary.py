"""Average precision of each target, computed on reading."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossrun_bench.measurements.detection.average_precision import Precision, average_precision
from crossrun_bench.measurements.detection.result import DetectionResult


@dataclass(frozen=True)
class DetectionSummary:
    """A result, and the precision of each of its targets, the reference first."""

    result: DetectionResult
    precisions: Sequence[Precision]


def summarise(result: DetectionResult) -> DetectionSummary:
    """All that is shown of a result."""
    found = [average_precision(result.truths, target.detections) for target in result.targets]
    return DetectionSummary(result, found)
