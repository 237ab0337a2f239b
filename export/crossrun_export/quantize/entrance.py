"""Lets the pixels of an int8 model become floats in one step, as its first convolution wants them.

A UINT8 input that is cast and scaled before the first convolution is scaled by one
DequantizeLinear instead; what that cannot say of the scaling, the convolution's bias does.
"""

import numpy as np
import onnx

from crossrun_export import runtime
from crossrun_export.graph import Graph, prune, rewire

SCALING = ("Cast", "Mul", "Add", "Sub", "Div", "Identity")
SAME = 1e-3  # of a grey value: nearer than this, values are the same
UINT8 = onnx.TensorProto.UINT8


def shorten(model: onnx.ModelProto) -> None:
    """Put a DequantizeLinear in the scaling's place; no change where pixels are not plainly scaled.

    It computes (pixel - zero_point) * scale; padding puts in zeros behind it as it did before.
    """
    (image,) = model.graph.input
    if image.type.tensor_type.elem_type != UINT8:
        return
    steps, conv = _way_in(Graph(model), image.name)
    found = _affine(model, conv.input[0]) if conv else None
    if not (conv and found):
        return
    scale, offset = found
    zero_point = min(max(round(-offset / scale), 0), 255)
    _take_out(model, [node for node in steps if node.op_type in SCALING])
    _dequantize(model, conv, scale, zero_point)
    _add_to_input(Graph(model), conv, offset + zero_point * scale)
    prune(model)


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
    answers = np.concatenate([found for (found,) in runtime.batches(model, greys, [tensor])])
    low, one, high = answers.reshape(3, -1).astype(np.float64)
    scale, offset = float((high - low).mean()) / 255, float(low.mean())
    off = np.stack([low - offset, one - offset - scale, high - offset - 255 * scale])
    return (scale, offset) if scale > 0 and np.abs(off).max() < SAME * scale else None


def _take_out(model: onnx.ModelProto, scaling: list[onnx.NodeProto]) -> None:
    """Let what takes the scaled pixels take them as they come."""
    graph = Graph(model)
    for node in scaling:
        (data,) = [name for name in node.input if name not in graph]
        rewire(model.graph.node, node.output[0], data)
    for node in scaling:
        model.graph.node.remove(node)


def _dequantize(
    model: onnx.ModelProto, conv: onnx.NodeProto, scale: float, zero_point: int
) -> None:
    graph, pixels, scaled = Graph(model), conv.input[0], f"{conv.input[0]}_scaled"
    graph.set(f"{scaled}_scale", np.array(scale, np.float32))
    graph.set(f"{scaled}_zero_point", np.array(zero_point, np.uint8))
    conv.input[0] = scaled
    node = onnx.helper.make_node(
        "DequantizeLinear", [pixels, f"{scaled}_scale", f"{scaled}_zero_point"], [scaled]
    )
    model.graph.node.insert(graph.nodes.index(conv), node)


def _add_to_input(graph: Graph, conv: onnx.NodeProto, value: float) -> None:
    """Let a convolution answer as if `value` were added to all that it takes, padding aside."""
    added = value * graph[conv.input[1]].sum(axis=(1, 2, 3), dtype=np.float64)
    graph.set(conv.input[2], (graph[conv.input[2]] + added).astype(np.float32))
