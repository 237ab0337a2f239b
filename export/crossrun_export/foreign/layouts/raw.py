"""The parts of a detector's outputs as arrays, before anything is made of their values."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossrun_export.foreign.layouts.layout import Layout
from crossrun_export.runtime import Outputs

Floats = NDArray[np.float32]


class Raw(NamedTuple):
    """Rows of a detector, as its source returns them."""

    boxes: Floats  # [pictures, n, 4]
    # [pictures, n], or [pictures, n, classes] if there is one for each class; before those of
    # `yolo-objectness` there is that of an object.
    scores: Floats
    classes: Floats | None  # [pictures, n], numbers; None if there is a score for each class
    counted: NDArray[np.bool_]  # [pictures, n], which rows are detections


def raw(outputs: Outputs, layout: Layout) -> Raw:
    """Take the outputs of a source apart.

    Args:
        outputs: of one picture, or of several if they have a dimension for the batch.
        layout: of the outputs.
    """
    parts = {part: _batched(outputs[name], layout) for part, name in layout.outputs.items()}
    if "rows" in parts:
        return _of_rows(parts["rows"], layout)
    boxes, scores = parts["boxes"], parts["scores"]
    counted = np.ones(boxes.shape[:2], bool)
    if "count" in parts:
        counted = np.arange(boxes.shape[1]) < parts["count"].reshape(-1, 1)
    return Raw(boxes, scores, parts.get("classes"), counted)


def _batched(array: NDArray[Any], layout: Layout) -> Floats:
    return array.astype(np.float32) if layout.batched else array.astype(np.float32)[None]


def _of_rows(rows: Floats, layout: Layout) -> Raw:
    if layout.columns_first:
        rows = rows.transpose(0, 2, 1)
    boxes, rest, counted = rows[..., :4], rows[..., 4:], np.ones(rows.shape[:2], bool)
    if layout.layout == "rows":
        return Raw(boxes, rest[..., 0], rest[..., 1], counted)
    return Raw(boxes, rest, None, counted)
