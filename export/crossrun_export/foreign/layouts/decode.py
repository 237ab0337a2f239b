"""Decodes a detector's outputs inside the graph, and keeps the best of what they say.

The text is ONNX's own (https://onnx.ai/onnx/repo-docs/Syntax.html). Its operators mean the same in
every opset from 15 on.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser, version_converter

from crossrun_export.convert import OPSET
from crossrun_export.detector import suppress
from crossrun_export.detector.settings import Thresholds
from crossrun_export.errors import ExportError
from crossrun_export.foreign.layouts.layout import Layout
from crossrun_export.graph import opset

SOURCE = "source/"  # before all names of the source's graph, which may be those of ours
OLDEST, IR = 15, 8  # of the opset and of the format

DECODING = """
<ir_version: {ir}, opset_import: ["": {opset}]>
decoding ({inputs}) => (float[batch, cells, 4] boxes, {outputs})
{{
    {lines}
}}
"""
CONSTANTS: Mapping[str, NDArray[Any]] = {
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
    "yolo-objectness": [
        "lay_object = Slice (lay_rest, lay_none, lay_one, lay_last)",
        "lay_each = Slice (lay_rest, lay_one, lay_all, lay_last)",
        "lay_scores = Mul (lay_object, lay_each)",
    ],
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
# The best class of each box. ArgMax says nothing of NaN, which therefore becomes a sure class.
BEST_CLASS = [
    "lay_heads = {head}",
    "lay_labelled = Gather <axis: int = -1> (lay_heads, lay_columns)",
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
BEST = """
<ir_version: {ir}, opset_import: ["": {opset}]>
best (float[batch, cells, 4] boxes, float[batch, cells] scores, int64[batch, cells] lines,
    float[rows, 1] {score}, int64[rows, 1] {most})
=> (float[batch, {limit}, 4] detection_boxes, float[batch, {limit}] detection_scores,
    int64[batch, {limit}] detection_classes, int32[batch] num_detections)
<int64[1] best_limit = {{{limit}}}, int64[4] best_pads = {{0, 0, 0, {limit}}},
    int64[6] best_box_pads = {{0, 0, 0, 0, {limit}, 0}}, int64[1] best_one = {{1}},
    int64[1] best_two = {{2}}, int64 best_nothing = {{0}}, int64 best_by = {{1}},
    int64 best_end = {{{limit}}}, float best_zero = {{0.0}}, float best_top = {{3.4e38}}>
{{
    best_least = Max ({score}, best_zero)
    best_unsure = LessOrEqual (scores, best_least)
    best_none = Less (lines, best_nothing)
    best_left_out = Or (best_unsure, best_none)
    best_lost = IsNaN (scores)
    best_known = Where (best_lost, best_top, scores)
    best_wanted = Where (best_left_out, best_zero, best_known)
    best_key = Pad (best_wanted, best_pads)
    best_all_scores = Pad (scores, best_pads)
    best_all_lines = Pad (lines, best_pads)
    best_all_boxes = Pad (boxes, best_box_pads)
    best_keys, best_order = TopK <axis: int = 1> (best_key, best_limit)
    best_cells = Unsqueeze (best_order, best_two)
    best_scores = GatherElements <axis: int = 1> (best_all_scores, best_order)
    best_lines = GatherElements <axis: int = 1> (best_all_lines, best_order)
    best_boxes = GatherND <batch_dims: int = 1> (best_all_boxes, best_cells)
    best_rank = Range (best_nothing, best_end, best_by)
    best_asked = Less (best_rank, {most})
    best_is_some = Greater (best_keys, best_zero)
    best_found = And (best_is_some, best_asked)
    best_found_boxes = Unsqueeze (best_found, best_two)
    detection_boxes = Where (best_found_boxes, best_boxes, best_zero)
    detection_scores = Where (best_found, best_scores, best_zero)
    detection_classes = Where (best_found, best_lines, best_nothing)
    best_ones = Cast <to: int = 7> (best_found)
    best_count = ReduceSum <keepdims: int = 0> (best_ones, best_one)
    num_detections = Cast <to: int = 6> (best_count)
}}
"""


def append(graph: onnx.ModelProto, layout: Layout, thresholds: Thresholds) -> onnx.ModelProto:
    """Put what a detector finds in the place of its outputs.

    Args:
        graph: to the source's outputs, all of which are replaced.
        layout: of these outputs.
        thresholds: of requests that name none.

    Returns:
        A model with the outputs and optional inputs of `suppress.append`. Where nothing overlaps
        (`Layout.overlaps`) there is no `iou_threshold`. A detection whose class has no label gets
        the line after the last. NaN in a detection stays NaN.

    Raises:
        ExportError: the graph's opset is too old to be brought to a newer one, or its outputs have
            no dimension for a batch that its input has.
    """
    model = _source(graph, layout)
    io_map = [(f"{SOURCE}{name}", part) for part, name in layout.outputs.items()]
    decoded = onnx.compose.merge_models(model, _decoding(model, layout), io_map=io_map)
    return suppress.append(decoded, thresholds) if layout.overlaps else _best(decoded, thresholds)


def _source(graph: onnx.ModelProto, layout: Layout) -> onnx.ModelProto:
    """The source's graph with names that are not ours, and the outputs of the layout."""
    rows = graph.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    if not layout.batched and rows != 1:
        raise ExportError(
            "the outputs have no dimension for the batch, and the input takes any number of "
            "pictures; expected one picture at a time"
        )
    model = _renewed(graph)
    model.ir_version = max(model.ir_version, IR)
    _rename(model.graph, frozenset(value.name for value in model.graph.input))
    wanted = {f"{SOURCE}{name}" for name in layout.outputs.values()}
    outputs = [value for value in model.graph.output if value.name in wanted]
    del model.graph.output[:]
    model.graph.output.extend(outputs)
    return model


def _rename(graph: onnx.GraphProto, kept: frozenset[str]) -> None:
    """Put SOURCE before all names but some, in what the nodes hold as well.

    onnx.compose.add_prefix forgets constants that a loop takes from around it.
    """

    def renamed(names: Iterable[str]) -> list[str]:
        return [name if name in kept or not name else f"{SOURCE}{name}" for name in names]

    for node in graph.node:
        node.input[:], node.output[:] = renamed(node.input), renamed(node.output)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, kept)
    values = (graph.input, graph.output, graph.value_info, graph.initializer)
    sparse = (one.values for one in graph.sparse_initializer)
    for named in chain(*values, sparse):
        (named.name,) = renamed([named.name])


def _renewed(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The graph in an opset whose operators mean what this module's text means by them."""
    if opset(graph) >= OLDEST:
        return graph
    try:
        return version_converter.convert_version(graph, OPSET)
    except Exception as error:
        raise ExportError(
            f"the graph has opset {opset(graph)}, and bringing it to {OPSET} failed: {error}"
        ) from error


def _decoding(model: onnx.ModelProto, layout: Layout) -> onnx.ModelProto:
    """The graph from the outputs of a source to boxes and scores of our own kind."""
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.output}
    inputs = ", ".join(
        f"{onnx.TensorProto.DataType.Name(types[f'{SOURCE}{name}']).lower()}[] {part}"
        for part, name in layout.outputs.items()
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
    best = [line.format(head=HEADS[layout.head]) for line in BEST_CLASS]
    return best + (EACH_SCORE if layout.overlaps else ONE_SCORE)


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


def _best(decoded: onnx.ModelProto, thresholds: Thresholds) -> onnx.ModelProto:
    """Keep the best detections of each row, in their order."""
    text = BEST.format(
        ir=decoded.ir_version,
        opset=opset(decoded),
        limit=thresholds.most,
        score=suppress.SCORE,
        most=suppress.MOST,
    )
    names = ("boxes", "scores", "lines")
    model = onnx.compose.merge_models(
        decoded, parser.parse_model(text), io_map=[(name, name) for name in names]
    )
    defaults = suppress.defaults(thresholds)
    given = (defaults[suppress.SCORE], defaults[suppress.MOST])
    model.graph.initializer.extend(given)
    onnx.checker.check_model(model, full_check=True)
    return model
