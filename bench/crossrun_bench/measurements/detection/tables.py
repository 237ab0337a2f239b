"""The tables of a detection result: mean average precision, likeness, and choosing a score."""

from collections.abc import Sequence

from crossrun_bench.measurements.answers.tables import SAME_PIXELS, left_out
from crossrun_bench.measurements.detection.average_precision import MOST
from crossrun_bench.measurements.detection.curve import Point, best
from crossrun_bench.measurements.detection.likeness import Likeness, together
from crossrun_bench.measurements.detection.result import DetectionResult, TargetDetections, Truth
from crossrun_bench.measurements.detection.summary import DetectionSummary
from crossrun_bench.targets.targets import ENCODED, label
from crossrun_bench.view import figures
from crossrun_bench.view.table import Row, Table

COCO = (
    "Mean average precision as COCO defines it (pycocotools): the mean over the classes, and over "
    f"ten IoU thresholds or at 0.5, of at most {MOST} objects a picture. "
    "Difference: of mAP@[.5:.95], to the source model."
)
LIKE = (
    "A like has the same class and a box that overlaps by half (IoU). Differences are the largest "
    "between likes; corners are in pixels of the picture. Sure are scores from {sure:g} on, of "
    "both sides."
)
UNKNOWN = "No mAP: no JSON of boxes in COCO's form says what the pictures show."
CURVE = (
    "Right: of the same class as an object that is there, and over it by half (IoU). All classes "
    "together, each object alike. F1 is the harmonic mean of precision and recall."
)
_SCORES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # rows of the table, beside the best
_PICTURES = 12  # rows at most


def tables(summary: DetectionSummary) -> list[Table]:
    """What all targets find, each class, how like it is, and precision and recall by score."""
    known = [_together(summary), _by_class(summary)] if summary.precisions else []
    scores = [_by_score(summary)] if summary.curve else []
    return [*known, *_likenesses(summary), *scores]


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
            f"{sure(target, result):,}",
        )
        for target, own in pairs_of
    )
    objects = sum(map(len, result.truths or ()))
    heading = f"Detection of {objects:,} objects in {len(result.pictures):,} pictures"
    columns = ("Target", "mAP@[.5:.95]", "mAP@0.5", "Difference", f"Score ≥ {result.sure:g}")
    return Table(heading, columns, rows, (COCO, *_asked(result)))


def _asked(result: DetectionResult) -> list[str]:
    decodes = any(target.target == ENCODED for target in result.targets)
    asked = f"All were asked for objects with scores from {result.min_score:g} on."
    return [asked, *([SAME_PIXELS] if decodes else []), *left_out(result.left_out)]


def sure(target: TargetDetections, result: DetectionResult) -> int:
    """How many objects a target is sure of."""
    return sum(one.score >= result.sure for picture in target.detections for one in picture)


def _by_class(summary: DetectionSummary) -> Table:
    result, found = summary.result, summary.precisions
    counts = _counts(result.truths or ())
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


def _likenesses(summary: DetectionSummary) -> list[Table]:
    """Of each target, and by picture of the last, the farthest from the original."""
    if not summary.likenesses:
        return []
    result = summary.result
    reference, *others = result.targets
    rows = tuple(
        (label(target.target), f"{sure(target, result):,}", *_cells(together(parts)))
        for target, parts in zip(others, summary.likenesses, strict=True)
    )
    first = (label(reference.target), f"{sure(reference, result):,}", *[figures.NONE] * 3)
    heading = f"Likeness to {label(reference.target)} in {len(result.pictures):,} pictures"
    columns = ("Target", "Sure", "With a like", "Score off by", "Corner off by, px")
    unknown = [] if summary.precisions else [UNKNOWN, *_asked(result)]
    notes = (LIKE.format(sure=result.sure), *unknown)
    return [Table(heading, columns, (first, *rows), notes), _by_picture(summary)]


def _cells(found: Likeness) -> Row:
    alike = f"{found.alike:,} of {found.sure:,}" if found.sure else figures.NONE
    return alike, figures.difference(found.score), f"{found.corner:.3f}"


def _by_picture(summary: DetectionSummary) -> Table:
    """Those with most sure detections without a like first, then by the largest differences."""
    result = summary.result
    pairs = zip(result.pictures, summary.likenesses[-1], strict=True)
    found = sorted(pairs, key=lambda p: (p[1].alike - p[1].sure, -p[1].score, -p[1].corner))
    rows = tuple((name, *_cells(parts)) for name, parts in found[:_PICTURES])
    columns = ("Picture", "With a like", "Score off by", "Corner off by, px")
    more = [f"The worst {_PICTURES} of {len(found):,}."] if len(found) > _PICTURES else []
    heading = f"Likeness of {label(result.targets[-1].target)} by picture"
    return Table(heading, columns, rows, tuple(more))


def _by_score(summary: DetectionSummary) -> Table:
    """At round scores, and at the one with the best F1."""
    top = best(summary.curve)
    shown = [one for one in summary.curve if one.score in _SCORES or one is top]
    heading = f"Precision and recall of {label(summary.result.targets[-1].target)} by score"
    columns = ("Score from", "Found", "Right", "Precision", "Recall", "F1")
    return Table(heading, columns, tuple(map(_point, shown)), (chosen(top), CURVE))


def _point(one: Point) -> Row:
    shares = (figures.percent(one.precision), figures.percent(one.recall), share(one.f1))
    return f"{one.score:g}", f"{one.found:,}", f"{one.right:,}", *shares


def chosen(top: Point) -> str:
    """What the best score is, as a sentence."""
    shares = f"precision {figures.percent(top.precision)}, recall {figures.percent(top.recall)}"
    return f"F1 is best, {share(top.f1)}, from a score of {top.score:g} on ({shares})."


def share(value: float) -> str:
    """0.7531."""
    return f"{value:.4f}"
