"""Keeps the best of detections that do not overlap, inside the graph."""

import onnx
from onnx import parser

from crossrun_export.detector import suppress
from crossrun_export.detector.settings import Thresholds
from crossrun_export.graph import opset

# A score that is none comes first, so that no limit hides it.
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


def append(decoded: onnx.ModelProto, thresholds: Thresholds) -> onnx.ModelProto:
    """Append what keeps the best detections of each picture, in their order.

    Args:
        decoded: to `boxes` FP32 [batch, n, 4], `scores` FP32 and `lines` INT64 [batch, n], which
            are left out below 0.
        thresholds: of requests that name none; suppression has none.

    Returns:
        A model with the outputs of `suppress.append`, and all of its optional inputs but the IoU's.
    """
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
