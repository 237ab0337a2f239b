"""Lets pixels go into the first convolution of an int8 model as they come.

A UINT8 input that is scaled before the first convolution is opened into a float input, in steps of
one grey value; the quantizer is told to quantize it with the very scale of the pixels; then its
first node does nothing to them, and the entrance is closed to UINT8 again, without that node.
"""

from dataclasses import dataclass

import numpy as np
import onnx

from crossrun_export import runtime
from crossrun_export.graph import Graph, prune, rewire

SCALING = ("Cast", "Mul", "Add", "Sub", "Div", "Identity")
SAME = 1e-3  # of a grey value: nearer than this, values are the same
UINT8, FLOAT = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT


@dataclass(frozen=True)
class Entrance:
    """How the pixels are quantized as they come: (pixel - zero_point) * scale."""

    tensor: str  # where they reach the first convolution
    scale: float
    zero_point: int


def open_up(model: onnx.ModelProto) -> Entrance | None:
    """Give the model a float input; None, and no change, where pixels are not plainly scaled."""
    (image,) = model.graph.input
    if image.type.tensor_type.elem_type != UINT8:
        return None
    steps, conv = _way_in(Graph(model), image.name)
    found = _affine(model, conv.input[0]) if conv else None
    if not (conv and found):
        return None
    scale, offset = found
    zero_point = min(max(round(-offset / scale), 0), 255)
    _take_out(model, [node for node in steps if node.op_type in SCALING])
    image.type.tensor_type.elem_type = FLOAT
    _add_to_input(Graph(model), conv, offset + zero_point * scale)
    tensor = conv.input[0]
    prune(model)
    return Entrance(tensor, scale, zero_point)


def close(model: onnx.ModelProto, entrance: Entrance) -> None:
    """Take the quantizer's first node away from a quantized model: pixels are its answer."""
    takers = Graph(model).takers[entrance.tensor]
    (quantize,) = [node for node in takers if node.op_type == "QuantizeLinear"]
    rewire(model.graph.node, quantize.output[0], entrance.tensor)
    model.graph.node.remove(quantize)
    model.graph.input[0].type.tensor_type.elem_type = UINT8
    prune(model)


def _take_out(model: onnx.ModelProto, scaling: list[onnx.NodeProto]) -> None:
    """Let what takes the scaled pixels take them as they come."""
    graph = Graph(model)
    for node in scaling:
        (data,) = [name for name in node.input if name not in graph]
        rewire(model.graph.node, node.output[0], data)
    for node in scaling:
        model.graph.node.remove(node)


def _way_in(graph: Graph, tensor: str) -> tuple[list[onnx.NodeProto], onnx.NodeProto | None]:
    """The nodes before the first convolution, and that."""
    steps = []
    while (node := graph.only_taker(tensor)) and node.op_type in (*SCALING, "Transpose"):
        steps.append(node)
        tensor = node.output[0]
    ends_well = node is not None and node.op_type == "Conv" and node.input[1] in graph
    return steps, node if ends_well else None


def _affine(model: onnx.ModelProto, tensor: str) -> tuple[float, float] | None:
    """Scale and offset from pixels to a tensor; None where channels or places differ."""
    _, *size = model.graph.input[0].type.tensor_type.shape.dim
    shape = tuple(dim.dim_value for dim in size)
    greys = np.stack([np.full(shape, value, np.uint8) for value in (0, 1, 255)])
    ((answers,),) = runtime.batches(model, greys, [tensor])
    low, one, high = answers.reshape(3, -1).astype(np.float64)
    scale, offset = float((high - low).mean()) / 255, float(low.mean())
    off = np.stack([low - offset, one - offset - scale, high - offset - 255 * scale])
    return (scale, offset) if scale > 0 and np.abs(off).max() < SAME * scale else None


def _add_to_input(graph: Graph, conv: onnx.NodeProto, value: float) -> None:
    """Let a convolution answer as if `value` were added to all that it takes, padding aside."""
    added = value * graph[conv.input[1]].sum(axis=(1, 2, 3), dtype=np.float64)
    graph.set(conv.input[2], (graph[conv.input[2]] + added).astype(np.float32))
