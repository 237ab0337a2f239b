"""Reads a detector's outputs as its original returns them, by what crossrun.source says of them.

docs/detectors.md has the table of layouts. The export and the server read them, too; this is
written anew, so that no fault in them hides itself here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.errors import BenchError
from crossrun_bench.models.boxes import overlaps
from crossrun_bench.models.model import Detector, Model, Objects
from crossrun_bench.models.original import Layout

Array = NDArray[Any]
Outputs = Mapping[str, Array]  # by the names that the original has for them

KERAS = "keras"  # of our own detectors: a box may be of several classes
_NUMBERED = ("tensorflow", "apart", "rows")  # a detection has the number of its class
_OVERLAPPING = ("yolo", "yolo-objectness", "ssd", KERAS)  # several boxes may show one object
_SETS = ("detr",)
_NOTHING = -1  # the line of a class that is none


@dataclass(frozen=True)
class _Found:
    """Candidates of one picture."""

    boxes: Array  # [n, 4], as the original has them
    scores: Array  # [n]
    lines: Array  # [n], of labels.txt


def objects(outputs: Outputs, layout: Layout, model: Model) -> Objects:
    """The objects of each picture, as `packed` has them: those over the least score, best first.

    Raises:
        BenchError: the layout is unknown, the original has not the outputs that it names, a score
            is no number, or a class has no label.
    """
    assert model.detector
    parts = _parts(outputs, layout)
    count = len(parts["rows" if "rows" in parts else "boxes"])
    found = np.zeros((count, model.detector.max_detections, 6), np.float32)
    for i in range(count):
        rows = _rows({part: array[i] for part, array in parts.items()}, layout, model)
        found[i, : len(rows)] = rows
    return found


def _parts(outputs: Outputs, layout: Layout) -> dict[str, Array]:
    """The outputs that the layout names, by what they are; each with a dimension for the batch."""
    known = (*_NUMBERED, *_OVERLAPPING, *_SETS)
    if layout.layout not in known:
        raise BenchError(f"unknown layout '{layout.layout}': expected one of {', '.join(known)}")
    if missing := set(layout.outputs.values()) - outputs.keys():
        told = f"{', '.join(sorted(missing))}, but {', '.join(outputs)}"
        raise BenchError(f"the original has no output {told}")
    parts = {part: outputs[name] for part, name in layout.outputs.items()}
    return parts if layout.batched else {part: array[None] for part, array in parts.items()}


def _rows(parts: Outputs, layout: Layout, model: Model) -> Array:
    """Of one picture: [at most max_detections, 6]."""
    assert model.detector
    numbered = layout.layout in _NUMBERED
    found = _numbered(parts, layout) if numbered else _by_class(parts, layout)
    if np.isnan(found.scores).any():
        raise BenchError("the original returns scores that are no numbers")
    sure = np.flatnonzero((found.scores > model.detector.least) & (found.lines != _NOTHING))
    order = sure[np.argsort(-found.scores[sure], kind="stable")]
    boxes = _shares(found.boxes, layout, model)
    if layout.layout in _OVERLAPPING:
        order = order[_best(boxes[order], found.lines[order], model.detector)]
    order = order[: model.detector.max_detections]
    if numbered and (found.lines[order] >= len(layout.numbers)).any():
        raise BenchError("the original finds a class that has no label")
    return np.column_stack([boxes[order], found.scores[order], found.lines[order]])


def _numbered(parts: Outputs, layout: Layout) -> _Found:
    """Of boxes, scores and classes, or of rows [n, 6] that have all of them."""
    if "rows" in parts:
        boxes, scores, classes = np.split(parts["rows"], [4, 5], axis=1)
    else:
        boxes, scores, classes = parts["boxes"], parts["scores"], parts["classes"]
    many = int(parts["count"].item()) if "count" in parts else len(boxes)
    lines = [_line(int(number), layout) for number in classes.ravel()[:many]]
    return _Found(boxes[:many], scores.ravel()[:many], np.array(lines, np.int64))


def _line(number: int, layout: Layout) -> int:
    """The line of a class's label; the one after the last for a class that has none."""
    if number in layout.numbers:
        return layout.numbers.index(number)
    low, high = min(layout.numbers), max(layout.numbers)
    background = {"first": low - 1, "last": high + 1}.get(layout.background)
    return _NOTHING if low < number < high or number == background else len(layout.numbers)


def _by_class(parts: Outputs, layout: Layout) -> _Found:
    """Of boxes with a score for each class: its best class, or in our own detectors each."""
    boxes, scores = _boxes_and_scores(parts, layout)
    if layout.layout == KERAS:
        many, classes = scores.shape
        lines = np.tile(np.arange(classes), many)
        return _Found(np.repeat(boxes, classes, axis=0), scores.ravel(), lines)
    every = _probabilities(scores.astype(np.float32), layout)
    if layout.layout == "yolo-objectness":  # first, that there is an object at all
        every = every[:, :1] * every[:, 1:]
    own = every[:, list(layout.numbers)]
    return _Found(boxes, own.max(axis=1), own.argmax(axis=1))


def _boxes_and_scores(parts: Outputs, layout: Layout) -> tuple[Array, Array]:
    """Boxes [n, 4], and scores [n, classes] or [n, 1 + classes]."""
    if "rows" not in parts:
        return parts["boxes"], parts["scores"]
    rows = parts["rows"].T if layout.columns_first else parts["rows"]
    return rows[:, :4], rows[:, 4:]


def _probabilities(scores: Array, layout: Layout) -> Array:
    if layout.head == "logits":
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        scores = powers / powers.sum(axis=1, keepdims=True)
    elif layout.head == "sigmoid-logits":
        scores = np.exp(-np.logaddexp(0, -scores))
    return scores


def _shares(boxes: Array, layout: Layout, model: Model) -> NDArray[np.float64]:
    """Boxes as ymin, xmin, ymax, xmax in shares of the input."""
    found = boxes.astype(np.float64)
    if layout.box_order == "xyxy":
        found = found[:, [1, 0, 3, 2]]
    elif layout.box_order == "cxcywh":
        middles, halves = found[:, [1, 0]], found[:, [3, 2]] / 2
        found = np.concatenate([middles - halves, middles + halves], axis=1)
    size = np.tile([model.height, model.width], 2)
    return found / size if layout.box_unit == "pixels" else found


def _best(boxes: Array, lines: Array, detector: Detector) -> NDArray[np.int64]:
    """Places of boxes, best first, that overlap no better box of their class by too much."""
    left = np.arange(len(boxes))
    kept: list[int] = []
    while len(left) and len(kept) < detector.max_detections:
        best, left = left[0], left[1:]
        kept.append(best)
        alike = lines[left] == lines[best]
        left = left[~(alike & (overlaps(boxes[best], boxes[left]) > detector.iou_threshold))]
    return np.array(kept, np.int64)
