"""What a source's answers to real pictures tell of its layout, and what they contradict."""

import numpy as np
from numpy.typing import NDArray

from crossrun_export.errors import ExportError
from crossrun_export.foreign.layouts.layout import Layout
from crossrun_export.foreign.layouts.raw import Raw
from crossrun_export.foreign.said import BoxUnit, DetectionHead

# A box seldom reaches twice the input's size, and seldom lies in its first two pixels.
LARGEST_SHARE = 2.0
# The share of rows that may be odd: where nothing is, some networks return anything.
ODD = 0.1
SLACK = 0.01  # of probabilities, and of their sum


def unit(rows: Raw | None) -> BoxUnit | None:
    """In which unit boxes are; None if nothing was found."""
    if rows is None:
        return None
    reach = np.abs(rows.boxes[_found(rows)]).max(axis=-1, initial=0)
    reach = reach[reach > 0]
    if not len(reach):
        return None
    return "pixels" if np.median(reach) > LARGEST_SHARE else "normalised"


def first_class(layout: Layout, rows: Raw | None) -> int | None:
    """The number of the first label, if a class was found that only one answer has room for."""
    if rows is None or rows.classes is None:
        return None
    seen = set(rows.classes[_found(rows)].tolist())
    lowest, beyond = 0 in seen, len(layout.numbers) in seen
    return int(beyond) if lowest != beyond else None


def head(rows: Raw | None) -> DetectionHead | None:
    """What the scores of each class are; "logits" is before a softmax or before a sigmoid."""
    if rows is None or not rows.scores.size:
        return None
    if not _is_probability(rows.scores):
        return "logits"
    one = np.abs(rows.scores.sum(axis=-1) - 1) <= SLACK
    return "softmax" if one.all() else "sigmoid"


def check(layout: Layout, rows: Raw) -> None:
    """Hold a layout against what was seen.

    Raises:
        ExportError: the values contradict it.
    """
    if any(np.isnan(part[rows.counted]).any() for part in (rows.boxes, rows.scores)):
        raise ExportError("the source returns numbers that are none (NaN) on the pictures")
    _check_scores(layout, rows)
    _check_boxes(layout, rows)
    if rows.classes is not None:
        _check_classes(layout, rows.classes[_found(rows)])


def _check_scores(layout: Layout, rows: Raw) -> None:
    scores, before = rows.scores[rows.counted], layout.head in ("logits", "sigmoid-logits")
    if not scores.size or before != _is_probability(scores):
        return
    low, high = scores.min(), scores.max()
    other = "are probabilities already" if before else "are no probabilities"
    raise ExportError(
        f"{layout.layout}: scores from {low:.4g} to {high:.4g} {other}"
        + (f", and --head {layout.head} says otherwise" if layout.head else "")
    )


def _check_boxes(layout: Layout, rows: Raw) -> None:
    found = rows.boxes[_found(rows)]
    sides = found[:, 2:] if layout.box_order == "cxcywh" else found[:, 2:] - found[:, :2]
    odd = np.count_nonzero((sides < 0).any(axis=1))
    if odd > ODD * len(found):
        raise ExportError(
            f"{layout.layout}: {odd} of {len(found)} boxes have a side below 0, so they are "
            f"not {layout.box_order}; --box-order says what they are"
        )
    told = unit(rows)
    if told and told != layout.box_unit:
        raise ExportError(
            f"{layout.layout}: boxes of up to {np.abs(found).max():.4g} are said to be "
            f"{layout.box_unit} and look like {told}; --box-unit says which"
        )


def _check_classes(layout: Layout, found: NDArray[np.float32]) -> None:
    numbers = np.unique(found)
    if (numbers != np.round(numbers)).any():
        raise ExportError(
            f"{layout.layout}: classes are no whole numbers, such as "
            f"{numbers[numbers != np.round(numbers)][0]:.4g}"
        )
    unknown = [int(number) for number in numbers if number not in layout.lines]
    if unknown:
        raise ExportError(
            f"{layout.layout}: class {unknown[0]} was found, and the {len(layout.numbers)} labels "
            f"have the numbers {min(layout.numbers)} to {max(layout.numbers)}; --first-class says "
            "the number of the first, --background first or last that one is no object"
        )


def _found(rows: Raw) -> NDArray[np.bool_]:
    """The rows that say something: padding has the score 0."""
    best = rows.scores if rows.classes is not None else rows.scores.max(axis=-1)
    return rows.counted & ((best > 0) | (rows.classes is None))


def _is_probability(scores: NDArray[np.float32]) -> bool:
    return bool((scores >= -SLACK).all() and (scores <= 1 + SLACK).all())
