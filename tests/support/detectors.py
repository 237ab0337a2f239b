"""Tiny detectors, made by hand: they find coloured rectangles, so that boxes can be checked."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto as Tp
from onnx import helper

from tests.support import models

Constants = dict[str, tuple[list[int], Sequence[float]]]  # shape, values

HEIGHT, WIDTH = 48, 64
LABELS = ["red", "green", "blue"]
SCORE, IOU, MOST = "score_threshold", "iou_threshold", "max_detections"

FINDER = """
max_batch_size: 4
input [{ name: "image" data_type: TYPE_UINT8 dims: [48, 64, 3] }]
output [{ name: "detection_classes" data_type: TYPE_INT64 dims: [3] label_filename: "labels.txt" }]
"""
OPTIONS = """
input [
  { name: "score_threshold" data_type: TYPE_FP32 dims: [1] optional: true },
  { name: "iou_threshold" data_type: TYPE_FP32 dims: [1] optional: true },
  { name: "max_detections" data_type: TYPE_INT64 dims: [1] optional: true }
]
"""
FROM_1 = 'parameters { key: "detection.first_class" value { string_value: "1" } }'
FOREIGN = """
max_batch_size: 0
input [{ name: "image" data_type: TYPE_UINT8 dims: [1, 48, 64, 3] }]
output [{ name: "what" data_type: TYPE_FP32 dims: [1, 3] label_filename: "labels.txt" }]
parameters { key: "detection.boxes" value { string_value: "where" } }
parameters { key: "detection.scores" value { string_value: "how" } }
parameters { key: "detection.classes" value { string_value: "what" } }
parameters { key: "detection.count" value { string_value: "many" } }
parameters { key: "detection.box_order" value { string_value: "xyxy" } }
parameters { key: "detection.box_unit" value { string_value: "pixels" } }
"""
LOCALIZER = """
max_batch_size: 4
output [
  { name: "probabilities" data_type: TYPE_FP32 dims: [3] label_filename: "labels.txt" },
  { name: "detection_classes" data_type: TYPE_INT64 dims: [3] label_filename: "labels.txt" }
]
parameters { key: "scores" value { string_value: "sigmoid" } }
"""


def write_all(root: Path) -> Path:
    """Write every detector, and a classifier, into a repository."""
    models.write(root, "finder", finder(), FINDER + OPTIONS, labels=LABELS)
    models.write(root, "letterboxed", resized("letterbox"), FINDER, labels=LABELS)
    models.write(root, "short", finder(), FINDER + OPTIONS, labels=LABELS[:2])
    models.write(root, "unclear", resized("fit"), FINDER, labels=LABELS)
    damaged = finder()
    onnx.helper.set_model_props(damaged, {"crossrun.preprocessing": "{damaged"})
    models.write(root, "damaged", damaged, FINDER, labels=LABELS)
    models.write(root, "localizer", localizer(), LOCALIZER, labels=LABELS)
    models.write(root, "foreign", foreign(), FOREIGN + FROM_1, labels=LABELS)
    models.write(root, "late", finder(), FINDER + FROM_1, labels=LABELS)
    models.write(root, "uncounted", uncounted(), "max_batch_size: 4")
    models.write(root, "echo", echo(), "max_batch_size: 4" + OPTIONS)
    models.write(root, "colours", models.colours(), models.COLOURS_CONFIG, labels=LABELS)
    return root


def finder(batch: str | int = "batch") -> onnx.ModelProto:
    """`image` UINT8 [batch, 48, 64, 3] → the box of all that is red, of all green, of all blue.

    The outputs are the TensorFlow Object Detection API's four, for three detections, and those
    of a `score_threshold` of 0.3 by default, and `max_detections`, 3. A score is by how much the
    brightest pixel is of its colour, 0 to 1. Boxes of different classes never suppress each other,
    so that `iou_threshold` does nothing.
    """
    nodes = [
        *_found(),
        _node("Greater", ["scores", SCORE], "sure"),
        _node("Cast", ["sure"], "sure_numbers", to=Tp.INT64),
        _node("ReduceSum", ["sure_numbers", "axis_1"], "sure_count", keepdims=1),
        _node("Min", ["sure_count", MOST], "count"),
        _node("Less", ["ranks", "count"], "counted"),
        _node("Add", [IOU, "none"], "unused"),
        *(
            _node("Where", ["counted", name, zero], output)
            for name, zero, output in (
                ("scores", "none", "detection_scores"),
                ("classes", "zero", "detection_classes"),
            )
        ),
        _node("Unsqueeze", ["counted", "axis_2"], "counted_boxes"),
        _node("Where", ["counted_boxes", "boxes", "none"], "detection_boxes"),
        _node("Cast", ["count"], "count_32", to=Tp.INT32),
        _node("Squeeze", ["count_32", "axis_1"], "num_detections"),
    ]
    outputs = [
        _value("detection_boxes", Tp.FLOAT, [batch, 3, 4]),
        _value("detection_scores", Tp.FLOAT, [batch, 3]),
        _value("detection_classes", Tp.INT64, [batch, 3]),
        _value("num_detections", Tp.INT32, [batch]),
    ]
    return _model(nodes, [_image(batch), *_options()], outputs, [*_constants(), *_defaults()])


def any_size(
    shape: Sequence[str | int] = ("batch", "height", "width", 3), element_type: int = Tp.UINT8
) -> onnx.ModelProto:
    """`finder` without thresholds, of pictures of any size, whose boxes are shares of that."""
    model = finder(batch=shape[0])
    del model.graph.input[:]
    model.graph.input.append(_value("image", element_type, shape))
    (size,) = (one for one in model.graph.initializer if one.name == "size")
    model.graph.initializer.remove(size)
    nodes = [
        _node("Shape", ["image"], "sides", start=1, end=3),
        _node("Cast", ["sides"], "float_sides", to=Tp.FLOAT),
        _node("Concat", ["float_sides", "float_sides"], "size", axis=0),
        *model.graph.node,
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def strided() -> onnx.ModelProto:
    """`any_size`, which fails on sides that are no multiples of 16."""
    model = any_size()
    (cast,) = (node for node in model.graph.node if "float" in node.output)
    cast.output[0] = "whole"
    nodes = [
        _node("Transpose", ["whole"], "channels_first", perm=[0, 3, 1, 2]),
        _node("SpaceToDepth", ["channels_first"], "deep", blocksize=16),
        _node("DepthToSpace", ["deep"], "flat", blocksize=16),
        _node("Transpose", ["flat"], "float", perm=[0, 2, 3, 1]),
    ]
    at = list(model.graph.node).index(cast) + 1
    for node in reversed(nodes):
        model.graph.node.insert(at, node)
    return model


def frozen() -> onnx.ModelProto:
    """`any_size` for one picture, as tf2onnx makes it of a frozen graph: names end in :0."""
    model = any_size((1, "height", "width", 3))
    for value in (*model.graph.input, *model.graph.output):
        old, value.name = value.name, f"{value.name}:0"
        for node in model.graph.node:
            node.input[:] = [value.name if name == old else name for name in node.input]
            node.output[:] = [value.name if name == old else name for name in node.output]
    return model


def resized(how: str) -> onnx.ModelProto:
    """`finder`, whose file says how pictures are brought to size."""
    model = finder()
    onnx.helper.set_model_props(model, {"crossrun.preprocessing": f'{{"resize": "{how}"}}'})
    return model


def localizer() -> onnx.ModelProto:
    """`finder` without thresholds; classes have `probabilities` and `heat_maps` beside boxes."""
    model = finder()
    del model.graph.input[1:]
    model.graph.node.extend(
        [
            _node("ReduceMax", ["excess"], "probabilities", axes=[1, 2], keepdims=0),
            _node("Transpose", ["mask"], "heat_maps", perm=[0, 3, 1, 2]),
        ]
    )
    outputs = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.extend(
        [
            _value("probabilities", Tp.FLOAT, ["batch", 3]),
            *outputs,
            _value("heat_maps", Tp.FLOAT, ["batch", 3, HEIGHT, WIDTH]),
        ]
    )
    return model


def foreign() -> onnx.ModelProto:
    """One picture → `where` in pixels, x first, `how`, `what` from 1, `many`; all FP32."""
    model = finder(batch=1)
    del model.graph.input[1:]
    model.graph.node.extend(
        [
            _node("Mul", ["detection_boxes", "size"], "pixels"),
            _node("Gather", ["pixels", "x_first"], "where", axis=2),
            _node("Identity", ["detection_scores"], "how"),
            _node("Cast", ["detection_classes"], "from_0", to=Tp.FLOAT),
            _node("Add", ["from_0", "one"], "what"),
            _node("Cast", ["num_detections"], "many", to=Tp.FLOAT),
        ]
    )
    x_first = helper.make_tensor("x_first", Tp.INT64, [4], [1, 0, 3, 2])
    model.graph.initializer.append(x_first)
    model.graph.initializer.append(helper.make_tensor("one", Tp.FLOAT, [], [1.0]))
    shapes = {"where": [1, 3, 4], "how": [1, 3], "what": [1, 3], "many": [1]}
    del model.graph.output[:]
    model.graph.output.extend(_value(name, Tp.FLOAT, shape) for name, shape in shapes.items())
    return model


def uncounted() -> onnx.ModelProto:
    """`finder` without `num_detections`, thresholds and labels; has boxes for all rows."""
    model = finder()
    del model.graph.input[1:]
    del model.graph.output[3]
    (zeroed,) = (node for node in model.graph.node if "detection_boxes" in node.output)
    zeroed.CopyFrom(_node("Identity", ["boxes"], "detection_boxes"))
    return model


def echo() -> onnx.ModelProto:
    """Finds in each picture two things that are sure as the thresholds say that it was given.

    First, in all of its input, `iou_threshold`, 0.5 by default, then, in the upper left corner,
    `score_threshold`, 0.3; or the first alone where `max_detections` is 1. Fails over 3.
    """
    nodes = [
        _node("Shape", ["image"], "size", start=0, end=1),
        _node("Concat", ["size", "two"], "rows_two", axis=0),
        _node("Concat", ["rows_two", "four"], "rows_two_four", axis=0),
        _node("Expand", ["places", "rows_two_four"], "detection_boxes"),
        _node("Concat", [IOU, SCORE], "both", axis=1),
        _node("Expand", ["both", "rows_two"], "detection_scores"),
        _node("Expand", ["zero", "rows_two"], "detection_classes"),
        _node("Gather", ["counts", MOST], "most"),
        _node("Expand", ["most", "rows_one"], "num_detections"),
        _node("Concat", ["size", "one"], "rows_one", axis=0),
    ]
    nodes.insert(2, nodes.pop())
    constants = [
        helper.make_tensor("places", Tp.FLOAT, [2, 4], [0, 0, 1, 1, 0, 0, 0.125, 0.125]),
        helper.make_tensor("counts", Tp.INT64, [4], [0, 1, 2, 2]),
        helper.make_tensor("zero", Tp.INT64, [1], [0]),
        *(
            helper.make_tensor(name, Tp.INT64, [1], [number])
            for name, number in (("one", 1), ("two", 2), ("four", 4))
        ),
    ]
    outputs = [
        _value("detection_boxes", Tp.FLOAT, ["batch", 2, 4]),
        _value("detection_scores", Tp.FLOAT, ["batch", 2]),
        _value("detection_classes", Tp.INT64, ["batch", 2]),
        _value("num_detections", Tp.INT64, ["batch", 1]),
    ]
    return _model(nodes, [_image("batch"), *_options()], outputs, [*constants, *_defaults()])


def _found() -> list[onnx.NodeProto]:
    """`image` → `scores` [batch, 3], best first, `classes` and `boxes` [batch, 3, 4] of them."""
    edges = ("top", "left", "bottom", "right")
    last = {"keepdims": 0, "select_last_index": 1}
    return [
        _node("Cast", ["image"], "float", to=Tp.FLOAT),
        _node("MatMul", ["float", "colours"], "excess"),
        _node("Greater", ["excess", "clearly"], "is_coloured"),
        _node("Cast", ["is_coloured"], "mask", to=Tp.FLOAT),
        _node("ReduceMax", ["mask"], "rows", axes=[2], keepdims=0),
        _node("ReduceMax", ["mask"], "columns", axes=[1], keepdims=0),
        _node("ArgMax", ["rows"], "top", axis=1, keepdims=0),
        _node("ArgMax", ["columns"], "left", axis=1, keepdims=0),
        _node("ArgMax", ["rows"], "last_row", axis=1, **last),
        _node("ArgMax", ["columns"], "last_column", axis=1, **last),
        _node("Add", ["last_row", "one_pixel"], "bottom"),
        _node("Add", ["last_column", "one_pixel"], "right"),
        *(_node("Unsqueeze", [edge, "axis_2"], f"{edge}_of") for edge in edges),
        _node("Concat", [f"{edge}_of" for edge in edges], "pixel_boxes", axis=2),
        _node("Cast", ["pixel_boxes"], "float_boxes", to=Tp.FLOAT),
        _node("Div", ["float_boxes", "size"], "unordered"),
        _node("ReduceMax", ["excess"], "brightest", axes=[1, 2], keepdims=0),
        helper.make_node("TopK", ["brightest", "three"], ["scores", "classes"], axis=1),
        _node("Unsqueeze", ["classes", "axis_2"], "which"),
        _node("Expand", ["which", "four_each"], "which_boxes"),
        _node("GatherElements", ["unordered", "which_boxes"], "boxes", axis=1),
    ]


def _constants() -> list[onnx.TensorProto]:
    colours = np.where(np.eye(3), 1, -0.5) / 255  # by how much a pixel is red, green, blue
    size = [HEIGHT, WIDTH, HEIGHT, WIDTH]
    floats: Constants = {"clearly": ([], [0.25]), "none": ([], [0.0]), "size": ([4], size)}
    whole: Constants = {
        "one_pixel": ([], [1]),
        "zero": ([], [0]),
        "three": ([1], [3]),
        "axis_1": ([1], [1]),
        "axis_2": ([1], [2]),
        "four_each": ([3], [1, 1, 4]),
        "ranks": ([1, 3], [0, 1, 2]),
    }
    return [
        helper.make_tensor("colours", Tp.FLOAT, [3, 3], colours.ravel()),
        *(helper.make_tensor(n, Tp.FLOAT, shape, v) for n, (shape, v) in floats.items()),
        *(helper.make_tensor(n, Tp.INT64, shape, v) for n, (shape, v) in whole.items()),
    ]


def _defaults() -> list[onnx.TensorProto]:
    return [
        helper.make_tensor(SCORE, Tp.FLOAT, [1, 1], [0.3]),
        helper.make_tensor(IOU, Tp.FLOAT, [1, 1], [0.5]),
        helper.make_tensor(MOST, Tp.INT64, [1, 1], [3]),
    ]


def write_exported(root: Path) -> None:
    """The finder as `crossrun-export` would write it, less its Keras model."""
    model = finder()
    metadata = {
        "crossrun.preprocessing": {"scale": 1 / 255, "offset": 0.0, "resize": "letterbox"},
        "crossrun.source": {"model": "finder", "sha256": "1" * 64},
        "crossrun.detection": {SCORE: 0.3, IOU: 0.5},
    }
    text = {key: json.dumps(value) for key, value in metadata.items()}
    helper.set_model_props(model, text)
    models.write(root, "finder", model, FINDER + OPTIONS, labels=LABELS)


def _options() -> list[onnx.ValueInfoProto]:
    return [
        _value(SCORE, Tp.FLOAT, ["batch", 1]),
        _value(IOU, Tp.FLOAT, ["batch", 1]),
        _value(MOST, Tp.INT64, ["batch", 1]),
    ]


def _image(batch: str | int) -> onnx.ValueInfoProto:
    return _value("image", Tp.UINT8, [batch, HEIGHT, WIDTH, 3])


def _value(name: str, element_type: int, shape: Sequence[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element_type, shape)


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [output], **attributes)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    initializers: list[onnx.TensorProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "detector", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=models.OPSETS, ir_version=8)
