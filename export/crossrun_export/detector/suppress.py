"""Non-maximum suppression inside the graph: from all boxes and scores to the detections.

Each row of the batch is a turn of a Loop, so that it has its own thresholds. The outputs are the
four of the TensorFlow Object Detection API. It knows nothing of the network before it.
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper, parser

from crossrun_export.detector.network import BOXES, SCORES
from crossrun_export.detector.settings import Thresholds
from crossrun_export.graph import opset

CLASSES = "detection_classes"
OUTPUTS = ("detection_boxes", "detection_scores", CLASSES, "num_detections")
# Inputs that may be left out: their values are then those of the export.
SCORE, IOU, MOST = "score_threshold", "iou_threshold", "max_detections"

# NonMaxSuppression tells what it keeps as (picture, class, cell), class by class.
GRAPH = """
<ir_version: {ir}, opset_import: ["": {opset}]>
suppression (float[batch, cells, 4] boxes, float[batch, cells, classes] scores,
    float[rows, 1] {score}, float[rows, 1] {iou}, int64[rows, 1] {most})
=> (float[batch, {limit}, 4] detection_boxes, float[batch, {limit}] detection_scores,
    int64[batch, {limit}] detection_classes, int32[batch] num_detections)
<int64[1] nms_none = {{0}}, int64[1] nms_one = {{1}}, int64[1] nms_limit = {{{limit}}},
    int64[3] nms_apart = {{1, 1, 1}}, float nms_zero = {{0.0}}, float nms_whole = {{1.0}},
    bool nms_always = {{1}}>
{{
    nms_batch = Shape <start: int = 0, end: int = 1> (boxes)
    nms_rows = Concat <axis: int = 0> (nms_batch, nms_one)
    nms_score = Expand ({score}, nms_rows)
    nms_any_iou = Expand ({iou}, nms_rows)
    nms_iou = Clip (nms_any_iou, nms_zero, nms_whole)
    nms_any_most = Expand ({most}, nms_rows)
    nms_least = Max (nms_any_most, nms_none)
    nms_most = Min (nms_least, nms_limit)
    nms_scores = Transpose <perm: ints = [0, 2, 1]> (scores)
    nms_turns = Squeeze (nms_batch)
    detection_boxes, detection_scores, detection_classes, num_detections = Loop <
        body: graph = nms_row (int64 nms_i, bool nms_go)
        => (bool nms_on, float[m, 4] nms_row_boxes, float[m] nms_row_scores,
            int64[m] nms_row_classes, int32 nms_row_count)
        {{
            nms_on = Identity (nms_go)
            nms_at = Unsqueeze (nms_i, nms_none)
            nms_b = Gather (boxes, nms_at)
            nms_s = Gather (nms_scores, nms_at)
            nms_row_most = Gather (nms_most, nms_i)
            nms_row_iou = Gather (nms_iou, nms_i)
            nms_row_score = Gather (nms_score, nms_i)
            nms_kept = NonMaxSuppression (nms_b, nms_s, nms_row_most, nms_row_iou, nms_row_score)
            nms_kept_scores = GatherND (nms_s, nms_kept)
            nms_found = Shape (nms_kept_scores)
            nms_count = Min (nms_found, nms_row_most)
            nms_best_scores, nms_order = TopK (nms_kept_scores, nms_count)
            nms_best = Gather (nms_kept, nms_order)
            nms_nowhere, nms_best_class, nms_best_cell = Split <axis: int = 1>
                (nms_best, nms_apart)
            nms_best_classes = Squeeze (nms_best_class, nms_one)
            nms_best_cells = Squeeze (nms_best_cell, nms_one)
            nms_row_of_boxes = Squeeze (nms_b, nms_none)
            nms_best_boxes = Gather (nms_row_of_boxes, nms_best_cells)
            nms_rest = Sub (nms_limit, nms_count)
            nms_pads = Concat <axis: int = 0> (nms_none, nms_rest)
            nms_box_pads = Concat <axis: int = 0> (nms_none, nms_none, nms_rest, nms_none)
            nms_row_boxes = Pad (nms_best_boxes, nms_box_pads)
            nms_row_scores = Pad (nms_best_scores, nms_pads)
            nms_row_classes = Pad (nms_best_classes, nms_pads)
            nms_counted = Cast <to: int = 6> (nms_count)
            nms_row_count = Squeeze (nms_counted)
        }}> (nms_turns, nms_always)
}}
"""


def append(network: onnx.ModelProto, thresholds: Thresholds) -> onnx.ModelProto:
    """Append suppression to a graph of boxes and scores, so that it finds detections.

    Args:
        network: to `boxes` FP32 [batch, cells, 4] and `scores` FP32 [batch, cells, classes].
        thresholds: of requests that name none.

    Returns:
        A model with OUTPUTS, each row best first and zero past its count, at most
        `thresholds.most` a row. It takes, if they are given, `score_threshold` FP32,
        `iou_threshold` FP32 and `max_detections` INT64, [batch, 1] or [1, 1] for all rows; an IoU
        outside of 0 … 1 counts as the nearest, a number of detections likewise.
    """
    text = GRAPH.format(
        ir=network.ir_version,
        opset=opset(network),
        limit=thresholds.most,
        score=SCORE,
        iou=IOU,
        most=MOST,
    )
    suppression = parser.parse_model(text)
    model = onnx.compose.merge_models(
        network, suppression, io_map=[(BOXES, BOXES), (SCORES, SCORES)]
    )
    model.graph.initializer.extend(defaults(thresholds).values())
    onnx.checker.check_model(model, full_check=True)
    return model


def defaults(thresholds: Thresholds) -> dict[str, onnx.TensorProto]:
    """The values of the optional inputs for requests that leave them out, by name."""
    values: dict[str, NDArray[Any]] = {
        SCORE: np.array([[thresholds.score]], np.float32),
        IOU: np.array([[thresholds.iou]], np.float32),
        MOST: np.array([[thresholds.most]], np.int64),
    }
    return {name: numpy_helper.from_array(value, name) for name, value in values.items()}
