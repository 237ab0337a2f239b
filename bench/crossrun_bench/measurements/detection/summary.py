"""Average precision of each target, and how like it is to the original, computed on reading."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossrun_bench.measurements.detection.average_precision import Precision, average_precision
from crossrun_bench.measurements.detection.curve import Point, curve
from crossrun_bench.measurements.detection.likeness import Likeness, likenesses
from crossrun_bench.measurements.detection.result import DetectionResult


@dataclass(frozen=True)
class DetectionSummary:
    """A result, and what is computed of each of its targets, the reference first."""

    result: DetectionResult
    precisions: Sequence[Precision]  # none if nobody knows the truth
    likenesses: Sequence[Sequence[Likeness]]  # of each picture; of all targets but the reference
    curve: Sequence[Point]  # of the last target; empty if nobody knows the truth


def summarise(result: DetectionResult) -> DetectionSummary:
    """All that is shown of a result."""
    likes = [likenesses(result, target) for target in range(1, len(result.targets))]
    if result.truths is None:
        return DetectionSummary(result, [], likes, [])
    found = [average_precision(result.truths, target.detections) for target in result.targets]
    labelled = result.labelled or tuple(found[0].by_class)
    last = result.targets[-1].detections
    return DetectionSummary(
        result, found, likes, curve(result.truths, last, labelled, result.min_score)
    )
