"""Corrects the biases of a quantized model so that each channel's mean is again the original's.

Rounding shifts the output of a convolution by a little, the same for every picture. Layer after
layer these shifts add up. Nagel et al., "Data-Free Quantization Through Weight Equalization and
Bias Correction" (2019), section 4.2, in its empirical form: from the first layer to the last, each
measured with all those before it corrected.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from crossrun_export import runtime
from crossrun_export.graph import Graph
from crossrun_export.runtime import Inputs

Means = NDArray[np.float64]


def correct(quantized: onnx.ModelProto, wanted: Mapping[str, Means], inputs: Inputs) -> None:
    """Change the biases of a quantized model so that nodes have the means that `means` returned.

    Those of layers that stayed float are as they were.
    """
    graph = Graph(quantized)
    layers = [node for node in graph.nodes if node.name in wanted and node.input[2] in graph.makers]
    for node in layers:
        found = _means(quantized, [node], inputs)[node.name]
        # The bias is int32 with a scale for each channel, behind a DequantizeLinear.
        values, scale, *_ = graph.makers[node.input[2]].input
        steps = np.round((wanted[node.name] - found) / graph[scale])
        graph.set(values, (graph[values] + steps).astype(np.int32))


def means(model: onnx.ModelProto, inputs: Inputs) -> dict[str, Means]:
    """Mean of each output channel of each layer, over inputs and places, by node."""
    return _means(model, Graph(model).weighted, inputs)


def _means(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], inputs: Inputs
) -> dict[str, Means]:
    sums: list[Means] = [np.zeros(())] * len(nodes)
    for batch in runtime.batches(model, inputs, [node.output[0] for node in nodes]):
        sums = [old + _summed(new) for old, new in zip(sums, batch, strict=True)]
    return {node.name: total / len(inputs) for node, total in zip(nodes, sums, strict=True)}


def _summed(outputs: runtime.Scores) -> Means:
    """Sum over the batch of the mean over places, [channels]."""
    by_channel = outputs.reshape(*outputs.shape[:2], -1)
    summed: Means = by_channel.mean(axis=2, dtype=np.float64).sum(axis=0)
    return summed
