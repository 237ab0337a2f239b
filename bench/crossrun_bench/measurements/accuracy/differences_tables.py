"""The report's part on where targets give another first class than the reference."""

from collections.abc import Iterator

from crossrun_bench.measurements.accuracy.differences import SHOWN, Flip
from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.accuracy.summary import AccuracySummary
from crossrun_bench.measurements.answers.comparison import Answer
from crossrun_bench.targets.targets import label
from crossrun_bench.view.section import Thumbnail
from crossrun_bench.view.table import Table

CLASSES = 10  # rows at most
_LABELLED = "Classes are those of the labels."
_UNLABELLED = "Classes are those that the reference says."


def tables(summary: AccuracySummary) -> Iterator[Table]:
    """By class and by picture; none if all agree."""
    if summary.flips:
        yield _by_class(summary)
        yield _by_picture(summary)


def thumbnails(summary: AccuracySummary) -> list[Thumbnail]:
    """Of the pictures in the table, as many as the result holds."""
    result = summary.result
    return [
        Thumbnail(result.thumbnails[name], name, tuple(f"{who}: {what}" for who, what in said))
        for name, *said in (_said(result, flip) for flip in summary.flips[:SHOWN])
        if name in result.thumbnails
    ]


def _by_class(summary: AccuracySummary) -> Table:
    result, found = summary.result, summary.classes
    targets = [t.target for t in result.targets if any(t.target in row.flips for row in found)]
    rows = tuple(
        (
            _name(result, row.number),
            f"{row.pictures:,}",
            *(f"{row.flips.get(target, 0):,}" for target in targets),
        )
        for row in found[:CLASSES]
    )
    notes = [_UNLABELLED if result.labels is None else _LABELLED, *_of(CLASSES, len(found))]
    columns = ("Class", "Pictures", *map(label, targets))
    return Table("Classes whose pictures get another first class", columns, rows, tuple(notes))


def _by_picture(summary: AccuracySummary) -> Table:
    result, found = summary.result, summary.flips
    rows = tuple(
        (name, expected, other, who)
        for name, (_, expected), (who, other) in (_said(result, flip) for flip in found[:SHOWN])
    )
    columns = ("Picture", label(result.targets[0].target), "Others", "Which")
    heading = "Pictures whose first class differs"
    return Table(heading, columns, rows, tuple(_of(SHOWN, len(found))))


def _said(result: AccuracyResult, flip: Flip) -> tuple[str, tuple[str, str], tuple[str, str]]:
    """The picture's name, and twice who says what of it: the reference, and the others."""
    reference = label(result.targets[0].target), _answer(result, flip.reference)
    others = ", ".join(map(label, flip.targets)), _answer(result, flip.said)
    return result.pictures[flip.picture], reference, others


def _answer(result: AccuracyResult, answer: Answer) -> str:
    return f"{_name(result, answer.top5[0])} {answer.scores[0]:.3f}"


def _name(result: AccuracyResult, number: int) -> str:
    """The class's label, else its position."""
    return result.class_names[number] if result.class_names else f"class {number}"


def _of(most: int, count: int) -> list[str]:
    return [f"The worst {most} of {count:,}."] if count > most else []
