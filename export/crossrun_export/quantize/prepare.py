"""A converted model made ready for the quantizer."""

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization.shape_inference import quant_pre_process

from crossrun_export.graph import Graph, channel_axis
from crossrun_export.quantize import entrance, head


def prepare(model: onnx.ModelProto) -> onnx.ModelProto:
    """Fold what onnxruntime folds, make the head a product, shorten the entrance.

    Every layer has a bias then, to be corrected, and every node a name.
    """
    prepared = _folded(model)
    head.as_product(prepared)
    _add_biases(prepared)
    entrance.shorten(prepared)
    for place, node in enumerate(prepared.graph.node):
        node.name = f"{node.op_type}_{place}"
    return prepared


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, before)
        quant_pre_process(before, after, skip_symbolic_shape=True)
        return onnx.load(after)


def _add_biases(model: onnx.ModelProto) -> None:
    graph = Graph(model)
    for node in graph.weighted:
        if len(node.input) == 2:
            channels = graph[node.input[1]].shape[channel_axis(node)]
            node.input.append(f"{node.output[0]}_bias")
            graph.set(node.input[2], np.zeros(channels, np.float32))
