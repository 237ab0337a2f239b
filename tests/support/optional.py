"""A model with an optional input."""

import onnx
from onnx import TensorProto as Tp
from onnx import helper

from tests.support import models

INPUTS = """
input [
  { name: "x" data_type: TYPE_FP32 dims: [1] },
  { name: "factor" data_type: TYPE_FP32 dims: [1] optional: true }
]
"""


def scaled(first: str | int = "batch") -> onnx.ModelProto:
    """`x` FP32 [batch, 1] → `y`, as many times as the optional `factor` [first, 1] says, or 2."""
    values = {
        name: helper.make_tensor_value_info(name, Tp.FLOAT, [axis, 1])
        for name, axis in (("x", "batch"), ("factor", first), ("y", "batch"))
    }
    default = helper.make_tensor("factor", Tp.FLOAT, [1, 1], [2.0])
    node = helper.make_node("Mul", ["x", "factor"], ["y"])
    inputs = [values["x"], values["factor"]]
    return models.model_of([node], inputs, [values["y"]], [default])
