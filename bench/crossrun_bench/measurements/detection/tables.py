"""The tables of a detection result: mean average precision, together and by class."""

from collections.abc import Sequence

from crossrun_bench.measurements.answers.tables import SAME_PIXELS, left_out
from crossrun_bench.measurements.detection.average_precision import MOST
from crossrun_bench.measurements.detection.result import TargetDetections, Truth
from crossrun_bench.measurements.detection.summary import DetectionSummary
from crossrun_bench.targets.targets import ENCODED, label
from crossrun_bench.view import figures
from crossrun_bench.view.table import Row, Table

SURE = 0.5  # score from which on an object is counted, and drawn
COLUMNS = ("Target", "mAP@[.5:.95]", "mAP@0.5", "Difference", f"Score ≥ {SURE:g}")
COCO = (
    "Mean average precision as COCO defines it (pycocotools): the mean over the classes, and over "
    f"ten IoU thresholds or at 0.5, of at most {MOST} objects a picture. "
    "Difference: of mAP@[.5:.95], to the source model."
)


def tables(summary: DetectionSummary) -> list[Table]:
    """All classes together, and each class."""
    return [_together(summary), _by_class(summary)]


def _together(summary: DetectionSummary) -> Table:
    result, found = summary.result, summary.precisions
    reference = found[0]
    pairs_of = zip(result.targets, found, strict=True)
    rows = tuple(
        (
            label(target.target),
            share(own.mean),
            share(own.at_half),
            figures.NONE if own is reference else f"{own.mean - reference.mean:+.4f}",
            f"{_sure(target):,}",
        )
        for target, own in pairs_of
    )
    objects = sum(map(len, result.truths))
    heading = f"Detection of {objects:,} objects in {len(result.pictures):,} pictures"
    decodes = any(target.target == ENCODED for target in result.targets)
    asked = f"All were asked for objects with scores from {result.min_score:g} on."
    notes = [COCO, asked, *([SAME_PIXELS] if decodes else []), *left_out(result.left_out)]
    return Table(heading, COLUMNS, rows, tuple(notes))


def _sure(target: TargetDetections) -> int:
    return sum(one.score >= SURE for picture in target.detections for one in picture)


def _by_class(summary: DetectionSummary) -> Table:
    result, found = summary.result, summary.precisions
    counts = _counts(result.truths)
    rows: tuple[Row, ...] = tuple(
        (
            result.class_names[number],
            f"{counts[number]:,}",
            *(share(own.by_class[number]) for own in found),
        )
        for number in found[0].by_class
    )
    columns = ("Class", "Objects", *(label(target.target) for target in result.targets))
    return Table("AP@[.5:.95] of each class", columns, rows)


def _counts(truths: Sequence[Sequence[Truth]]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for truth in (t for picture in truths for t in picture if not t.crowd):
        counts[truth.number] = counts.get(truth.number, 0) + 1
    return counts


def share(value: float) -> str:
    """0.7531."""
    return f"{value:.4f}"
