"""Makes a Gemm of a classifier's last layer: of a MatMul, or of a 1x1 convolution of one pixel.

onnxruntime's int8 Gemm (QGemm) can give float answers, its int8 convolution cannot: so the scores
keep their full resolution while their weights stay int8.
"""

import onnx

from crossrun_export.graph import Graph, prune

# Of a single pixel these change the shape and no order.
RESHAPING = ("Transpose", "Reshape", "Squeeze", "Flatten")

Shapes = dict[str, tuple[int, ...]]  # by tensor; a size that is not fixed is 0


def as_product(model: onnx.ModelProto) -> None:
    """Replace the last layer by a Gemm, or change nothing."""
    graph, shapes = Graph(model), _shapes(model)
    layers = [n for n in graph.nodes if n.op_type in ("Conv", "MatMul") and n.input[1] in graph]
    if not layers:
        return
    last = layers[-1]
    weights = graph[last.input[1]]
    if last.op_type == "MatMul" and weights.ndim == 2:
        product = onnx.helper.make_node("Gemm", [*last.input], [*last.output])
        _replace(model, [last], [product])
    elif weights.shape[2:] == (1, 1) and shapes.get(last.output[0], ())[2:] == (1, 1):
        after = _to_rows(graph, shapes, last.output[0])
        if after:
            graph.set(last.input[1], weights.reshape(weights.shape[:2]))
            _replace(model, [last, *after], _product(graph, last, after[-1].output[0]))


def _to_rows(graph: Graph, shapes: Shapes, tensor: str) -> list[onnx.NodeProto]:
    """The nodes that bring one pixel [batch, classes, 1, 1] to [batch, classes]."""
    nodes: list[onnx.NodeProto] = []
    while (node := graph.only_taker(tensor)) and node.op_type in RESHAPING:
        nodes.append(node)
        tensor = node.output[0]
        if len(shapes.get(tensor, ())) == 2:
            return nodes
    return []


def _product(graph: Graph, conv: onnx.NodeProto, output: str) -> list[onnx.NodeProto]:
    before, flat = graph.makers[conv.input[0]], f"{conv.output[0]}_flat"
    source = before.input[0] if before.op_type == "Reshape" else conv.input[0]
    return [
        onnx.helper.make_node("Flatten", [source], [flat], axis=1),
        onnx.helper.make_node("Gemm", [flat, *conv.input[1:]], [output], transB=1),
    ]


def _shapes(model: onnx.ModelProto) -> Shapes:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = (*inferred.value_info, *inferred.output)
    return {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in values}


def _replace(model: onnx.ModelProto, old: list[onnx.NodeProto], new: list[onnx.NodeProto]) -> None:
    nodes = list(model.graph.node)
    place = nodes.index(old[-1])
    before, after = ([n for n in part if n not in old] for part in (nodes[:place], nodes[place:]))
    del model.graph.node[:]
    model.graph.node.extend([*before, *new, *after])
    prune(model)
