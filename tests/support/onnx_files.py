"""Tiny ONNX files as other people's exporters write them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto as Tp
from onnx import helper, numpy_helper

SIDE = 8  # pixels
CHANNELS_FIRST = [0, 3, 1, 2]


def brightness(  # noqa: PLR0913 - a model may differ in so many ways
    *,
    batch: str | int = 1,
    channels_first: bool = True,
    picture: str = "pixels",
    hidden: str = "row",
    scores: str = "scores",
    kind: int = Tp.FLOAT,
    opset: int = 17,
) -> onnx.ModelProto:
    """Names the brightest of three channels of 8 x 8 pictures, by a softmax of their means.

    The batch is part of the shape that it flattens to, as exporters that trace a network write it.
    """
    size = [3, SIDE, SIDE] if channels_first else [SIDE, SIDE, 3]
    axes = [2, 3] if channels_first else [1, 2]
    rows = batch if isinstance(batch, int) else -1
    nodes = [
        helper.make_node("Cast", [picture], ["floats"], to=Tp.FLOAT),
        helper.make_node("ReduceMean", ["floats"], ["mean"], axes=axes, keepdims=1),
        helper.make_node("Reshape", ["mean", "shape"], [hidden]),
        helper.make_node("Mul", [hidden, "steep"], ["steeper"]),
        helper.make_node("Softmax", ["steeper"], [scores], axis=1),
    ]
    return model(
        nodes,
        [helper.make_tensor_value_info(picture, kind, [batch, *size])],
        [helper.make_tensor_value_info(scores, Tp.FLOAT, [batch, 3])],
        {"shape": np.array([rows, 3]), "steep": np.array(9, np.float32)},
        opset=opset,
    )


def convolution() -> onnx.ModelProto:
    """Scores of three classes, before any softmax, by a convolution and its mean."""
    kernel = np.random.default_rng(3).normal(0, 1, (3, 3, 3, 3)).astype(np.float32)
    return model(
        [
            helper.make_node("Conv", ["pixels", "kernel"], ["seen"], kernel_shape=[3, 3]),
            helper.make_node("GlobalAveragePool", ["seen"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["scores"]),
        ],
        [helper.make_tensor_value_info("pixels", Tp.FLOAT, ["N", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("scores", Tp.FLOAT, ["N", 3])],
        {"kernel": kernel},
    )


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    constants: dict[str, np.ndarray[Any, Any]],
    opset: int = 17,
) -> onnx.ModelProto:
    """A model of an opset, in an IR that any onnxruntime reads."""
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
