"""Corrects the biases of a quantized model so that each channel's mean is again the original's.

Rounding shifts the output of a convolution by a little, the same for every picture. Layer after
layer these shifts add up. Nagel et al., "Data-Free Quantization Through Weight Equalization and
Bias Correction" (2019), section 4.2, in its empirical form: from the first layer to the last, each
measured with all those before it corrected.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

import numpy as np
import onnx
from numpy.typing import NDArray

from crossrun_export import runtime
from crossrun_export.graph import Graph
from crossrun_export.runtime import Inputs, Outputs

Means = NDArray[np.float64]


def correct(quantized: onnx.ModelProto, wanted: Mapping[str, Means], inputs: Inputs) -> None:
    """Change the biases of a quantized model so that nodes have the means that `means` returned.

    Those of layers that stayed float are as they were. Each layer is run from the quantized
    tensors before it, which are kept for as long as a later layer needs them.
    """
    graph, (image,) = Graph(quantized), quantized.graph.input
    layers = [node for node in graph.nodes if node.name in wanted and node.input[2] in graph.makers]
    rows = runtime.at_once(quantized)
    starts = range(0, len(inputs), rows)
    known: list[Outputs] = [{image.name: inputs[start : start + rows]} for start in starts]
    for place, node in enumerate(layers):
        kept = _kept(graph, known[0].keys(), node, layers[place + 1 :])
        found = _advance(quantized, node.output[0], kept, known) / len(inputs)
        # The bias is int32 with a scale for each channel, behind a DequantizeLinear.
        values, scale, *_ = graph.makers[node.input[2]].input
        steps = np.round((wanted[node.name] - found) / graph[scale])
        graph.set(values, (graph[values] + steps).astype(np.int32))


def means(model: onnx.ModelProto, inputs: Inputs) -> dict[str, Means]:
    """Mean of each output channel of each layer, over inputs and places, by node."""
    nodes = Graph(model).weighted
    sums: list[Means] = [np.zeros(())] * len(nodes)
    for batch in runtime.batches(model, inputs, [node.output[0] for node in nodes]):
        sums = [old + _summed(new) for old, new in zip(sums, batch, strict=True)]
    return {node.name: total / len(inputs) for node, total in zip(nodes, sums, strict=True)}


def _kept(
    graph: Graph, known: AbstractSet[str], layer: onnx.NodeProto, later: Iterable[onnx.NodeProto]
) -> AbstractSet[str]:
    """The quantized tensors before a layer that later layers can be run from, and depend on.

    No layer that is still to be corrected has to do with them.
    """
    before = graph.behind(layer.output, known) & graph.makers.keys()
    ends = known | {name for name in before if graph.makers[name].op_type == "QuantizeLinear"}
    return graph.behind((name for node in later for name in node.output), ends) & ends


def _advance(
    model: onnx.ModelProto, output: str, kept: AbstractSet[str], known: list[Outputs]
) -> Means:
    """Sum a layer's output over places and inputs; know only the tensors `kept` afterwards."""
    new, total = sorted(kept - known[0].keys()), np.zeros(())
    for place, (found, *more) in enumerate(runtime.onward(model, known, [output, *new])):
        total = total + _summed(found)
        tensors = known[place] | dict(zip(new, more, strict=True))
        known[place] = {name: tensors[name] for name in kept}
    return total


def _summed(outputs: runtime.Scores) -> Means:
    """Sum over the batch of the mean over places, [channels]."""
    by_channel = outputs.reshape(*outputs.shape[:2], -1)
    summed: Means = by_channel.mean(axis=2, dtype=np.float64).sum(axis=0)
    return summed
