"""Detections from the outputs of a source, in numpy: what the served graph is held against.

It shares no arithmetic with the graph. Suppression is TensorFlow's.
"""

import numpy as np
from numpy.typing import NDArray

from crossrun_export.detector.measure import Detections, suppressed
from crossrun_export.detector.settings import Thresholds
from crossrun_export.errors import ExportError
from crossrun_export.foreign.layouts.layout import NO_OBJECT, Layout
from crossrun_export.foreign.layouts.raw import Floats, Raw, raw
from crossrun_export.runtime import Outputs

Lines = NDArray[np.int64]  # of labels.txt, [pictures, n]


def read(outputs: Outputs, layout: Layout, thresholds: Thresholds) -> Detections:
    """Return what a source finds in some pictures.

    Args:
        outputs: the source's, by name; of one picture, or of several if its outputs have a
            dimension for the batch.
        layout: of the outputs.
        thresholds: of a detection; the IoU counts only if boxes overlap (`Layout.overlaps`).

    Returns:
        Boxes in shares of the input, and classes as lines of labels.txt. A number that has no
        label becomes the line after the last.

    Raises:
        ExportError: a number of a detection is NaN.
    """
    rows = raw(outputs, layout)
    boxes = _corners(rows.boxes, layout)
    if rows.classes is not None:
        sure, lines = rows.scores, _lines(rows.classes, layout)
    else:
        each = _probabilities(rows.scores, layout)[..., list(layout.numbers)]
        sure, lines = each.max(axis=2), each.argmax(axis=2)
    _check_numbers(rows, boxes, sure, thresholds)
    if layout.overlaps:
        only = np.where(np.arange(each.shape[2]) == lines[..., None], each, 0)
        return suppressed(boxes, only, thresholds)
    found = rows.counted & (sure > thresholds.score) & (lines != NO_OBJECT)
    return _best(boxes, sure, lines, found, thresholds.most)


def _corners(boxes: Floats, layout: Layout) -> Floats:
    """Boxes of any order and unit as ymin, xmin, ymax, xmax in shares of the input."""
    a, b, c, d = np.moveaxis(boxes, -1, 0)
    if layout.box_order == "yxyx":
        top, left, bottom, right = a, b, c, d
    elif layout.box_order == "xyxy":
        left, top, right, bottom = a, b, c, d
    else:
        left, top, right, bottom = a - c / 2, b - d / 2, a + c / 2, b + d / 2
    height, width = layout.size if layout.box_unit == "pixels" else (1, 1)
    sides = [top / height, left / width, bottom / height, right / width]
    return np.stack(sides, axis=-1).astype(np.float32)


def _probabilities(scores: Floats, layout: Layout) -> Floats:
    """Probabilities of the classes of each box, [pictures, n, classes], background and all."""
    sure = _activated(scores, layout)
    return sure[..., :1] * sure[..., 1:] if layout.layout == "yolo-objectness" else sure


def _activated(scores: Floats, layout: Layout) -> Floats:
    if layout.head == "logits":
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)
    if layout.head == "sigmoid-logits":
        return np.asarray(0.5 * (1 + np.tanh(scores / 2)), np.float32)
    return scores


def _lines(classes: Floats, layout: Layout) -> Lines:
    lines, unknown = layout.lines, len(layout.numbers)
    found = [lines.get(int(number), unknown) for number in np.nan_to_num(classes).ravel()]
    return np.array(found, np.int64).reshape(classes.shape)


def _check_numbers(rows: Raw, boxes: Floats, sure: Floats, thresholds: Thresholds) -> None:
    found = rows.counted & ~(sure <= thresholds.score)
    for part in (boxes, sure, rows.classes):
        if part is not None and np.isnan(part[found]).any():
            raise ExportError("the source returns detections that are not numbers (NaN)")


def _best(
    boxes: Floats, scores: Floats, lines: Lines, found: NDArray[np.bool_], most: int
) -> Detections:
    pictures = len(boxes)
    best = Detections(
        np.zeros((pictures, most, 4), np.float32),
        np.zeros((pictures, most), np.float32),
        np.zeros((pictures, most), np.int64),
        np.minimum(found.sum(axis=1), most),
    )
    for picture, count in enumerate(best.found):
        rows = np.flatnonzero(found[picture])
        rows = rows[np.argsort(-scores[picture, rows], kind="stable")][:count]
        for part, values in ((best.boxes, boxes), (best.scores, scores), (best.classes, lines)):
            part[picture, :count] = values[picture, rows]
    return best
