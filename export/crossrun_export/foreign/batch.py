"""How many pictures a served graph takes at once: one, or any number."""

import numpy as np
import onnx

from crossrun_export.graph import Graph

NAME = "batch"


def of(model: onnx.ModelProto, image: str) -> int:
    """How many pictures a graph takes at once; -1 is any number."""
    (value,) = [value for value in model.graph.input if value.name == image]
    return value.type.tensor_type.shape.dim[0].dim_value or -1


def free(model: onnx.ModelProto) -> None:
    """Declare a graph to take any number, and take a batch of one out of its Reshapes.

    Exporters that trace a network write the batch they saw into each. Of one picture such a
    Reshape makes the same as before; whether it is right of several has to be tried.
    """
    _free_reshapes(model)
    _declare(model, NAME)


def fix(model: onnx.ModelProto) -> None:
    """Declare a graph to take one picture at a time."""
    _declare(model, 1)


def _free_reshapes(model: onnx.ModelProto) -> None:
    graph = Graph(model)
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*inferred.value_info, *inferred.output)
    }
    for place, node in enumerate(graph.nodes):
        known = shapes.get(node.output[0], []) if node.op_type == "Reshape" else []
        if len(known) > 1 and known[0] == 1 and all(known):
            node.input[1] = f"{NAME}_{place}_shape"
            graph.set(node.input[1], np.array([-1, *known[1:]]))


def _declare(model: onnx.ModelProto, batch: str | int) -> None:
    """Name the first axis of the image and of all outputs; what was known inside is dropped."""
    del model.graph.value_info[:]
    for value in (model.graph.input[0], *model.graph.output):
        if value.type.tensor_type.shape.dim:
            first = value.type.tensor_type.shape.dim[0]
            first.Clear()
            if isinstance(batch, str):
                first.dim_param = batch
            else:
                first.dim_value = batch
