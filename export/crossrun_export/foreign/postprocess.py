"""LiteRT's TFLite_Detection_PostProcess as ONNX operators: anchors, decoding, suppression.

tf2onnx translates only one of its two ways of suppression. This follows the kernel itself,
tensorflow/lite/kernels/detection_postprocess.cc: the fast way suppresses boxes by their best
class, whatever that is; the regular one suppresses each class on its own.
"""

from typing import Any

import numpy as np
import onnx
from onnx import helper, inliner, parser

from crossrun_export.convert import OPSET
from crossrun_export.errors import ExportError
from crossrun_export.foreign.said import Said

NAME = "TFL_TFLite_Detection_PostProcess"  # as tf2onnx calls it
DOMAIN = "litert.crossrun"  # of the graph until it is inlined
KEPT = [helper.make_opsetid(DOMAIN, 1)]  # what the converted graph imports beside ONNX

FUNCTION = """
<domain: "{domain}", opset_import: ["": {opset}]>
{name} (encodings, predictions, anchors) => (boxes, classes, scores, count)
{{
    none = Constant <value: tensor = int64[1] {{0}}> ()
    one = Constant <value: tensor = int64[1] {{1}}> ()
    two = Constant <value: tensor = int64[1] {{2}}> ()
    first = Constant <value: tensor = int64[1] {{-{num_classes}}}> ()
    end = Constant <value: tensor = int64[1] {{{end}}}> ()
    most = Constant <value: tensor = int64[1] {{{max_detections}}}> ()
    each = Constant <value: tensor = int64[1] {{{each}}}> ()
    iou = Constant <value: tensor = float[1] {{{nms_iou_threshold}}}> ()
    least = Constant <value: tensor = float[1] {{{least}}}> ()
    half = Constant <value: tensor = float {{0.5}}> ()
    scale = Constant <value: tensor = float[4] {{{y_scale}, {x_scale}, {h_scale}, {w_scale}}}> ()
    scaled = Div (encodings, scale)
    centre, extent = Split <axis: int = 2> (scaled)
    anchor_centre, anchor_extent = Split <axis: int = 1> (anchors)
    shift = Mul (centre, anchor_extent)
    middle = Add (shift, anchor_centre)
    growth = Exp (extent)
    half_growth = Mul (half, growth)
    reach = Mul (half_growth, anchor_extent)
    low = Sub (middle, reach)
    high = Add (middle, reach)
    corners = Concat <axis: int = 2> (low, high)
    of_classes = Slice (predictions, first, end, two)
    {suppressed}
    kept = NonMaxSuppression (corners, competing, each, iou, least)
    kept_scores = GatherND (competing, kept)
    found = Shape (kept_scores)
    number = Min (found, most)
    best, order = TopK (kept_scores, number)
    rows = Gather (kept, order)
    picture, competitor, cell = Split <axis: int = 1> (rows)
    cells = Squeeze (cell, one)
    all_corners = Squeeze (corners, none)
    best_boxes = Gather (all_corners, cells)
    {classes}
    float_classes = Cast <to: int = 1> (best_classes)
    rest = Sub (most, number)
    pads = Concat <axis: int = 0> (none, rest)
    box_pads = Concat <axis: int = 0> (none, none, rest, none)
    padded_boxes = Pad (best_boxes, box_pads)
    padded_classes = Pad (float_classes, pads)
    padded_scores = Pad (best, pads)
    boxes = Unsqueeze (padded_boxes, none)
    classes = Unsqueeze (padded_classes, none)
    scores = Unsqueeze (padded_scores, none)
    count = Cast <to: int = 1> (number)
}}
"""
# What competes: the best class of each box, or each class.
FAST = (
    "best_of_box = ReduceMax <axes: ints = [2], keepdims: int = 0> (of_classes) "
    "competing = Unsqueeze (best_of_box, one)",
    "class_of_box = ArgMax <axis: int = 2, keepdims: int = 0> (of_classes) "
    "class_of_cell = Squeeze (class_of_box, none) "
    "best_classes = Gather (class_of_cell, cells)",
)
REGULAR = (
    "competing = Transpose <perm: ints = [0, 2, 1]> (of_classes)",
    "best_classes = Squeeze (competitor, one)",
)


def keep(_: Any, node: Any, *__: Any) -> None:
    """Let tf2onnx leave the operation as it is: a handler of its custom operations."""
    node.domain = DOMAIN


def said(model: onnx.ModelProto) -> Said:
    """What the operation that was kept, if there is one, says of the model's outputs.

    It returns boxes, classes, scores and their number, in this order, and counts classes from 0
    without a background.
    """
    kept = [node for node in model.graph.node if node.domain == DOMAIN]
    returned = {value.name for value in model.graph.output}
    if len(kept) != 1 or not returned.issuperset(kept[0].output):
        return Said()
    parts = dict(zip(("boxes", "classes", "scores", "count"), kept[0].output, strict=True))
    return Said(layout="tensorflow", outputs=parts, first_class=0)


def expand(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace each operation that was kept by ONNX's operators.

    Raises:
        ExportError: it returns several classes of one box.
    """
    kept = [node for node in model.graph.node if node.domain == DOMAIN]
    if not kept:
        return model
    for place, node in enumerate(kept):
        node.op_type = f"DetectionPostProcess{place}"
        model.functions.append(_function(node))
        del node.attribute[:]
    return inliner.inline_local_functions(model)


def _function(node: onnx.NodeProto) -> onnx.FunctionProto:
    given = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if given["max_classes_per_detection"] != 1:
        raise ExportError(
            f"TFLite_Detection_PostProcess with {given['max_classes_per_detection']} classes for "
            "each box cannot be exported; expected max_classes_per_detection of 1"
        )
    regular = bool(given.get("use_regular_nms", 0))
    suppressed, classes = REGULAR if regular else FAST
    most = given["max_detections"]
    text = FUNCTION.format(
        domain=DOMAIN,
        opset=OPSET,
        name=node.op_type,
        end=np.iinfo(np.int64).max,
        each=min(given.get("detections_per_class", 100), most) if regular else most,
        least=_below(given["nms_score_threshold"]),
        suppressed=suppressed,
        classes=classes,
        **{key: given[key] for key in ("num_classes", "max_detections", "nms_iou_threshold")},
        **{f"{axis}_scale": given[f"{axis}_scale"] for axis in "yxhw"},
    )
    return parser.parse_function(text)


def _below(threshold: float) -> float:
    """LiteRT keeps scores from the threshold on, ONNX those over it."""
    return float(np.nextafter(np.float32(threshold), np.float32(-np.inf)))
