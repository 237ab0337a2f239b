"""The report's part on where targets give another first class than the reference."""

from collections.abc import Iterator
from dataclasses import dataclass

from crossrun_bench.measurements.accuracy.differences import SHOWN, Flip, by_class, flips, shown
from crossrun_bench.measurements.accuracy.result import AccuracyResult, Answer
from crossrun_bench.targets.targets import label
from crossrun_bench.view.table import Table

CLASSES = 10  # rows at most
_LABELLED = "Classes are those of the labels."
_UNLABELLED = "Classes are those that the reference says."


@dataclass(frozen=True)
class Thumbnail:
    """A small picture in base64, its name, and what was said of it, a line for each."""

    jpeg: str
    name: str
    lines: tuple[str, ...]


def tables(result: AccuracyResult) -> Iterator[Table]:
    """By class and by picture; none where all agree."""
    if flips(result):
        yield _by_class(result)
        yield _by_picture(result)


def thumbnails(result: AccuracyResult) -> list[Thumbnail]:
    """Of the pictures in the table, as many as the result holds."""
    return [
        Thumbnail(result.thumbnails[name], name, tuple(f"{who}: {what}" for who, what in said))
        for name, *said in (_said(result, flip) for flip in shown(result))
        if name in result.thumbnails
    ]


def _by_class(result: AccuracyResult) -> Table:
    found = by_class(result)
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


def _by_picture(result: AccuracyResult) -> Table:
    found = flips(result)
    rows = tuple(
        (name, expected, other, who)
        for name, (_, expected), (who, other) in (_said(result, flip) for flip in shown(result))
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
