"""Decodes a detector's outputs inside the graph: from a source's own to boxes, scores and classes.

The text is ONNX's own (https://onnx.ai/onnx/repo-docs/Syntax.html). Its operators mean the same in
every opset from OLDEST on.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from crossrun_export.foreign.layouts.layout import Layout
from crossrun_export.graph import opset

OLDEST = 15
DECODING = """
<ir_version: {ir}, opset_import: ["": {opset}]>
decoding ({inputs}) => (float[batch, cells, 4] boxes, {outputs})
{{
    {lines}
}}
"""
CONSTANTS: dict[str, NDArray[Any]] = {
    "lay_none": np.array([0]),
    "lay_one": np.array([1]),
    "lay_two": np.array([2]),
    "lay_four": np.array([4]),
    "lay_last": np.array([-1]),
    "lay_all": np.array([np.iinfo(np.int64).max]),
    "lay_column": np.array([-1, 1]),
    "lay_x_first": np.array([1, 0, 3, 2]),
    "lay_off_on": np.array([0, 1], np.float32),
    "lay_zero": np.array(0, np.float32),
    "lay_half": np.array(0.5, np.float32),
    "lay_whole": np.array(1, np.float32),
}
ROWS = [
    "lay_boxes = Slice (lay_each_row, lay_none, lay_four, lay_last)",
    "lay_rest = Slice (lay_each_row, lay_four, lay_all, lay_last)",
]
OF_ROWS = {
    "rows": [
        "lay_score = Slice (lay_rest, lay_none, lay_one, lay_last)",
        "lay_class = Slice (lay_rest, lay_one, lay_two, lay_last)",
        "lay_scores = Squeeze (lay_score, lay_last)",
        "lay_classes = Squeeze (lay_class, lay_last)",
    ],
    "yolo": ["lay_scores = Identity (lay_rest)"],
    "yolo-objectness": ["lay_scores = Identity (lay_rest)"],
}
CORNERS = {
    "yxyx": ["lay_corners = Identity (lay_boxes)"],
    "xyxy": ["lay_corners = Gather <axis: int = -1> (lay_boxes, lay_x_first)"],
    "cxcywh": [
        "lay_centre = Slice (lay_boxes, lay_none, lay_two, lay_last)",
        "lay_sides = Slice (lay_boxes, lay_two, lay_four, lay_last)",
        "lay_reach = Mul (lay_sides, lay_half)",
        "lay_low = Sub (lay_centre, lay_reach)",
        "lay_high = Add (lay_centre, lay_reach)",
        "lay_x_and_y = Concat <axis: int = -1> (lay_low, lay_high)",
        "lay_corners = Gather <axis: int = -1> (lay_x_and_y, lay_x_first)",
    ],
}
UNITS = {
    "normalised": ["lay_shares = Identity (lay_corners)"],
    "pixels": ["lay_shares = Div (lay_corners, lay_size)"],
}
HEADS = {
    "softmax": "Identity (lay_scores)",
    "sigmoid": "Identity (lay_scores)",
    "logits": "Softmax <axis: int = -1> (lay_scores)",
    "sigmoid-logits": "Sigmoid (lay_scores)",
}
# A number that is none makes the score none, so that no limit hides it.
NUMBERED = [
    "lay_step = Mul (lay_classes, lay_zero)",
    "lay_whole_classes = Cast <to: int = 7> (lay_classes)",
    "lay_places = Sub (lay_whole_classes, lay_low_class)",
    "lay_place = Clip (lay_places, lay_first_place, lay_last_place)",
    "lines = Gather (lay_table, lay_place)",
]
COUNTED = [
    "lay_counts = Reshape (lay_count, lay_column)",
    "lay_step_count = Mul (lay_counts, lay_zero)",
    "lay_known_scores = Sum (lay_scores, lay_step, lay_step_count)",
    "lay_cells = Shape <start: int = 1, end: int = 2> (lay_scores)",
    "lay_end = Squeeze (lay_cells)",
    "lay_start = Squeeze (lay_none)",
    "lay_by = Squeeze (lay_one)",
    "lay_rank = Range (lay_start, lay_end, lay_by)",
    "lay_float_rank = Cast <to: int = 1> (lay_rank)",
    "lay_past = GreaterOrEqual (lay_float_rank, lay_counts)",
    "scores = Where (lay_past, lay_zero, lay_known_scores)",
    "boxes = Identity (lay_shares)",
]
UNCOUNTED = ["scores = Add (lay_scores, lay_step)", "boxes = Identity (lay_shares)"]
OBJECTNESS = [
    "lay_object = Slice (lay_heads, lay_none, lay_one, lay_last)",
    "lay_if_object = Slice (lay_heads, lay_one, lay_all, lay_last)",
    "lay_each = Mul (lay_object, lay_if_object)",
]
# The best class of each box. ArgMax says nothing of NaN, which therefore becomes a sure class.
BEST_CLASS = [
    "lay_labelled = Gather <axis: int = -1> (lay_each, lay_columns)",
    "lay_total = ReduceSum <keepdims: int = 1> (lay_labelled, lay_last)",
    "lay_lost = IsNaN (lay_total)",
    "lay_sure = Where (lay_lost, lay_whole, lay_labelled)",
    "lay_best = ArgMax <axis: int = -1, keepdims: int = 1> (lay_sure)",
    "lay_step = Mul (lay_total, lay_zero)",
]
# … and its box none, which suppression leaves as it is.
EACH_SCORE = [
    "lay_lines = Squeeze (lay_best, lay_last)",
    "boxes = Add (lay_shares, lay_step)",
    "lay_chosen = OneHot <axis: int = -1> (lay_lines, lay_labels, lay_off_on)",
    "scores = Mul (lay_sure, lay_chosen)",
]
ONE_SCORE = [
    "lines = Squeeze (lay_best, lay_last)",
    "lay_best_score = GatherElements <axis: int = -1> (lay_sure, lay_best)",
    "lay_known_score = Add (lay_best_score, lay_step)",
    "scores = Squeeze (lay_known_score, lay_last)",
    "boxes = Identity (lay_shares)",
]


def decoding(model: onnx.ModelProto, layout: Layout) -> onnx.ModelProto:
    """Return the graph that decodes the outputs of a source.

    Args:
        model: with an output for each part of the layout, in their order.
        layout: of these outputs.

    Returns:
        A graph from the parts to `boxes` [batch, n, 4], ymin xmin ymax xmax in shares of the input.
        If boxes overlap, `scores` [batch, n, labels] are 0 but for the best class of a box. If not,
        there are `scores` [batch, n] and `lines` INT64 [batch, n] of labels.txt.
    """
    types = (value.type.tensor_type.elem_type for value in model.graph.output)
    inputs = ", ".join(
        f"{onnx.TensorProto.DataType.Name(kind).lower()}[] {part}"
        for part, kind in zip(layout.outputs, types, strict=True)
    )
    scores = "float[batch, cells, classes] scores"
    if not layout.overlaps:
        scores = "float[batch, cells] scores, int64[batch, cells] lines"
    lines = "\n    ".join([*_parts(layout), *_boxes(layout), *_scores(layout)])
    decoding = parser.parse_model(
        DECODING.format(
            ir=model.ir_version, opset=opset(model), inputs=inputs, outputs=scores, lines=lines
        )
    )
    used = {name for node in decoding.graph.node for name in node.input}
    decoding.graph.initializer.extend(
        numpy_helper.from_array(value, name)
        for name, value in (CONSTANTS | _constants(layout)).items()
        if name in used
    )
    return decoding


def _parts(layout: Layout) -> list[str]:
    """The outputs as float32, with a dimension for the batch, and with a row for each box."""
    lines = []
    for part in layout.outputs:
        step = "Identity ({})" if layout.batched else "Unsqueeze ({}, lay_none)"
        lines.append(f"lay_float_{part} = Cast <to: int = 1> ({part})")
        lines.append(f"lay_{part} = {step.format(f'lay_float_{part}')}")
    if "rows" not in layout.outputs:
        return lines
    step = "Transpose <perm: ints = [0, 2, 1]>" if layout.columns_first else "Identity"
    return [*lines, f"lay_each_row = {step} (lay_rows)", *ROWS, *OF_ROWS[layout.layout]]


def _boxes(layout: Layout) -> Sequence[str]:
    return [*CORNERS[layout.box_order], *UNITS[layout.box_unit]]


def _scores(layout: Layout) -> list[str]:
    if layout.head is None:
        return [*NUMBERED, *(COUNTED if "count" in layout.outputs else UNCOUNTED)]
    objectness = layout.layout == "yolo-objectness"
    each = OBJECTNESS if objectness else ["lay_each = Identity (lay_heads)"]
    chosen = EACH_SCORE if layout.overlaps else ONE_SCORE
    return [f"lay_heads = {HEADS[layout.head]}", *each, *BEST_CLASS, *chosen]


def _constants(layout: Layout) -> dict[str, NDArray[Any]]:
    """What depends on the labels and on the size of the input."""
    lines, unknown = layout.lines, len(layout.numbers)
    return {
        "lay_size": np.array(layout.size * 2, np.float32),
        "lay_columns": np.array(layout.numbers),
        "lay_labels": np.array([unknown]),
        "lay_table": np.array([unknown, *lines.values(), unknown]),
        "lay_low_class": np.array(min(lines) - 1),
        "lay_first_place": np.array(0),
        "lay_last_place": np.array(len(lines) + 1),
    }
