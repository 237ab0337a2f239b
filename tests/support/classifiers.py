"""Tiny classifiers whose scores are of any kind, and their configurations."""

from typing import Any

import onnx
from onnx import TensorProto as Tp
from onnx import helper

from tests.support import models


def classifier(
    *nodes: onnx.NodeProto, kind: int = Tp.FLOAT, width: int = 3, other: bool = False
) -> onnx.ModelProto:
    """`image` UINT8 [batch, 8, 8, 3] → `scores`, from `x`: the mean of each channel, -5 to 5.

    With an `embedding` FP32 [batch, 3] before them, which is `x` itself, if there is to be another.
    """
    image = helper.make_tensor_value_info("image", Tp.UINT8, ["batch", 8, 8, 3])
    outputs = [helper.make_tensor_value_info("scores", kind, ["batch", width])]
    if other:
        outputs.insert(0, helper.make_tensor_value_info("embedding", Tp.FLOAT, ["batch", 3]))
    constants = {
        "grey": helper.make_tensor("grey", Tp.FLOAT, [], [127.5]),
        "step": helper.make_tensor("step", Tp.FLOAT, [], [25.5]),
        "first": helper.make_tensor("first", Tp.INT64, [1], [0]),
    }
    before = [
        helper.make_node("Cast", ["image"], ["float"], to=Tp.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Sub", ["mean", "grey"], ["signed"]),
        helper.make_node("Div", ["signed", "step"], ["x"]),
        helper.make_node("Identity", ["x"], ["embedding"]),
    ]
    return models.model_of([*before, *nodes], [image], outputs, list(constants.values()))


def node(kind: str, *inputs: str, to: str = "scores", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [to], **attributes)


def config(*parameters: tuple[str, str], labels: bool = True, kind: str = "FP32") -> str:
    width = 1 if any(value.startswith("binary") for _, value in parameters) else 3
    named = ' label_filename: "labels.txt"' if labels else ""
    lines = [f'output [{{ name: "scores" data_type: TYPE_{kind} dims: [{width}]{named} }}]']
    lines += [f"parameters {{ key: '{k}' value {{ string_value: '{v}' }} }}" for k, v in parameters]
    # One lane each, so that no plan is measured.
    return "\n".join(["max_batch_size: 4", models.ONE_AT_A_TIME, *lines])


LOGITS = node("Identity", "x")
FIRST = node("Gather", "x", "first", to="one", axis=1)
