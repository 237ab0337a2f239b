"""Makes a quantized file small: short names, no zero points that say zero, no shapes inside.

In a small model these are a tenth of the file. What remains is what onnxruntime fuses.
"""

import onnx

from crossrun_export.graph import Graph, prune


def compact(model: onnx.ModelProto) -> None:
    """Shorten a model in place; inputs and outputs keep their names."""
    _drop_zero_points(model)
    prune(model)
    _shorten(model)


def _drop_zero_points(model: onnx.ModelProto) -> None:
    """Of weights and biases; a Gemm keeps that of its weights, without which QGemm is not fused."""
    graph = Graph(model)
    for node in graph.nodes:
        if node.op_type != "DequantizeLinear" or node.input[0] not in graph:
            continue
        takers = {taker.op_type for taker in graph.takers[node.output[0]]}
        is_bias = graph[node.input[0]].ndim == 1
        if (is_bias or takers == {"Conv"}) and not graph[node.input[2]].any():
            del node.input[2:]


def _shorten(model: onnx.ModelProto) -> None:
    kept = ("", *(value.name for value in (*model.graph.input, *model.graph.output)))
    short = {name: name for name in kept}  # an input left out is called ""
    for place, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}{place}"
        for names in (node.input, node.output):
            names[:] = [short.setdefault(name, f"t{len(short)}") for name in names]
    for tensor in model.graph.initializer:
        tensor.name = short[tensor.name]
