"""Scales of int8 weights, one for each output channel.

The usual scale puts a channel's largest weight on 127. Here that weight may be on any whole number
from 64 to 127, and the one with the least squared error over the channel is taken. For weights that
were trained with quantization in mind, as Google published MobileNets, one of these is often the
very grid of the training, and most of the error is gone.
"""

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType

from crossrun_export.graph import Array, Graph, channel_axis

LARGEST = range(127, 63, -1)  # on a tie the usual scale stays
ZERO = np.array(0, np.int8)

Overrides = dict[str, list[dict[str, object]]]  # onnxruntime's TensorQuantOverrides, by tensor


def overrides(model: onnx.ModelProto) -> Overrides:
    """The scales of all weights."""
    graph = Graph(model)
    found = {}
    for node in graph.weighted:
        axis = channel_axis(node)
        channels: list[dict[str, object]] = [
            {"quant_type": QuantType.QInt8, "scale": np.array(scale), "zero_point": ZERO}
            for scale in scales(np.moveaxis(graph[node.input[1]], axis, 0))
        ]
        channels[0]["axis"] = axis
        found[node.input[1]] = channels
    return found


def scales(weights: Array) -> NDArray[np.float32]:
    """The best scale for each row of float weights [channels, …]: float32 [channels]."""
    rows = weights.reshape(len(weights), -1).astype(np.float64)
    tops = np.abs(rows).max(axis=1, keepdims=True)
    tops[tops == 0] = 1.0  # a channel without weights: any scale will do
    errors = np.stack([_errors(rows, tops / largest) for largest in LARGEST])
    best = np.array(LARGEST)[errors.argmin(axis=0)]
    found: NDArray[np.float32] = (tops[:, 0] / best).astype(np.float32)
    return found


def _errors(rows: NDArray[np.float64], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    errors: NDArray[np.float64] = np.square(np.round(rows / scale) * scale - rows).sum(axis=1)
    return errors
