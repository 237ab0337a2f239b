"""Whole numbers that stand for real ones, as a quantized model takes and returns them.

Outside of a source there are real numbers only: these functions bring them in and out, in numpy
and in an ONNX graph alike.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from crossrun_export.graph import Graph, rewire

WHOLE = "_quantized"  # behind the name of the tensor that holds the whole numbers


@dataclass(frozen=True)
class Steps:
    """A whole number stands for (number - zero) * size."""

    size: float
    zero: int
    dtype: np.dtype[Any]

    def numbers(self, real: NDArray[np.float32]) -> NDArray[Any]:
        """The nearest whole numbers, ties to even, as ONNX's QuantizeLinear rounds."""
        kind = np.iinfo(self.dtype)
        nearest = np.rint(real / np.float32(self.size)) + self.zero
        whole: NDArray[Any] = np.clip(nearest, kind.min, kind.max).astype(self.dtype)
        return whole

    def real(self, numbers: NDArray[Any]) -> NDArray[np.float32]:
        """What whole numbers stand for."""
        away: NDArray[np.float32] = (numbers.astype(np.int32) - self.zero).astype(np.float32)
        return away * np.float32(self.size)

    @property
    def ends(self) -> tuple[float, float]:
        """The lowest and the highest real number that there is."""
        kind = np.iinfo(self.dtype)
        return (kind.min - self.zero) * self.size, (kind.max - self.zero) * self.size


def take_reals(model: onnx.ModelProto, name: str, steps: Steps) -> None:
    """Let a graph take real numbers at an input of whole ones."""
    rewire(model.graph.node, name, name + WHOLE)
    node = helper.make_node(
        "QuantizeLinear", [name, *_constants(model, name, steps)], [name + WHOLE]
    )
    model.graph.node.insert(0, node)
    _declare_float(next(value for value in model.graph.input if value.name == name))


def return_reals(model: onnx.ModelProto, name: str, steps: Steps) -> None:
    """Let a graph return the real numbers at an output of whole ones."""
    for node in model.graph.node:
        node.output[:] = [name + WHOLE if output == name else output for output in node.output]
    rewire(model.graph.node, name, name + WHOLE)
    node = helper.make_node(
        "DequantizeLinear", [name + WHOLE, *_constants(model, name, steps)], [name]
    )
    model.graph.node.append(node)
    _declare_float(next(value for value in model.graph.output if value.name == name))


def _constants(model: onnx.ModelProto, name: str, steps: Steps) -> tuple[str, str]:
    """Put size and zero into the graph; returns their names."""
    values = {
        f"{name}_step": np.array(steps.size, np.float32),
        f"{name}_zero": np.array(steps.zero, steps.dtype),
    }
    model.graph.initializer.extend(
        numpy_helper.from_array(value, constant) for constant, value in values.items()
    )
    size, zero = values
    return size, zero


def _declare_float(value: onnx.ValueInfoProto) -> None:
    value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT


def unshare(model: onnx.ModelProto) -> None:
    """Give each DequantizeLinear a zero point of its own.

    Where onnxruntime makes unsigned weights of signed ones, it takes every zero point for one that
    no other node has, and does not load a model in which two share one.
    """
    graph, taken = Graph(model), set[str]()
    for place, node in enumerate(graph.nodes):
        if node.op_type != "DequantizeLinear" or len(node.input) < 3 or node.input[2] not in graph:
            continue
        if node.input[2] in taken:
            name = f"{node.input[2]}_{place}"
            graph.set(name, graph[node.input[2]])
            node.input[2] = name
        taken.add(node.input[2])
