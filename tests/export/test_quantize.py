"""The parts of quantizing: scales of weights, corrected biases, the entrance of pixels."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from crossrun_export import runtime
from crossrun_export.graph import Graph
from crossrun_export.quantize import bias, weights
from crossrun_export.quantize.activations import METHODS, ranges
from crossrun_export.quantize.prepare import prepare
from crossrun_export.quantize.search import quantized

UINT8, FLOAT = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT


def test_a_grid_that_weights_lie_on_is_found() -> None:
    """Weights in whole steps of a scale are quantized without any error, whatever their largest."""
    steps = np.array([[100, -37, 3, 0], [50, -13, 7, 1], [0, 0, 0, 0]])
    found = weights.scales(steps * np.float32(0.013))
    quantized = np.round(steps * 0.013 / found[:, np.newaxis])
    assert np.abs(quantized).max() <= 127
    assert quantized * found[:, np.newaxis] == pytest.approx(steps * 0.013, abs=1e-7)


def test_no_channel_is_worse_off_than_with_the_usual_scale() -> None:
    """For weights on no grid the error is at most that of the largest weight on 127."""
    rows = np.random.default_rng(3).normal(size=(50, 9)).astype(np.float32)

    def errors(scale: Any) -> Any:
        return np.square(np.round(rows / scale) * scale - rows).sum(axis=1)

    usual = errors(np.abs(rows).max(axis=1, keepdims=True) / 127)
    found = errors(weights.scales(rows)[:, np.newaxis])
    assert np.all(found <= usual * (1 + 1e-5))
    assert found.sum() < 0.9 * usual.sum()


def net(*scaling: onnx.NodeProto, constants: dict[str, Any]) -> onnx.ModelProto:
    """UINT8 `image` [batch, 4, 4, 3] → scaling to `scaled` → convolution → `y` [batch, 2, 2, 2]."""
    rng = np.random.default_rng(1)
    constants |= {
        "weights": rng.normal(size=(2, 3, 3, 3)).astype(np.float32),
        "bias": np.array([1, -1], np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=FLOAT),
        *scaling,
        helper.make_node("Transpose", ["scaled"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["turned", "weights", "bias"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", UINT8, ["batch", 4, 4, 3])],
        [helper.make_tensor_value_info("y", FLOAT, ["batch", 2, 2, 2])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def scaled(scale: Any, offset: Any) -> onnx.ModelProto:
    return net(
        helper.make_node("Mul", ["float", "scale"], ["multiplied"]),
        helper.make_node("Add", ["multiplied", "offset"], ["scaled"]),
        constants={"scale": np.float32(scale), "offset": np.float32(offset)},
    )


@pytest.mark.parametrize(
    ("scale", "offset", "zero_point"),
    [(1 / 127.5, -1.0, 128), (1 / 255, 0.0, 0), (1.0, 0.0, 0), (0.02, -2.0, 100)],
)
def test_the_scaling_of_pixels_is_the_quantizers(
    scale: float, offset: float, zero_point: int
) -> None:
    """One node gives the same answers, half a grey value included, and pads with the same zero."""
    model = scaled(scale, offset)
    pixels = np.random.default_rng(2).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    prepared = prepare(model)
    assert [node.op_type for node in prepared.graph.node] == [
        "Transpose", "DequantizeLinear", "Conv",
    ]  # fmt: skip
    graph = Graph(prepared)
    _, found, zero = graph.nodes[1].input
    assert graph[found] == pytest.approx(scale)
    assert graph[zero] == zero_point
    assert runtime.scores(prepared, pixels) == pytest.approx(
        runtime.scores(model, pixels), abs=1e-4
    )


@pytest.mark.parametrize(
    "model",
    [
        scaled([0.01, 0.02, 0.03], [0.0, 0.0, 0.0]),  # each channel its own
        scaled(-0.01, 1.0),  # dark is bright
        net(helper.make_node("Mul", ["float", "float"], ["scaled"]), constants={}),  # squared
    ],
)
def test_any_other_scaling_is_left_alone(model: onnx.ModelProto) -> None:
    """Scales by channel, of the other sign, or none at all: the model keeps its own entrance."""
    pixels = np.random.default_rng(2).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    prepared = prepare(model)
    assert "DequantizeLinear" not in {node.op_type for node in prepared.graph.node}
    assert runtime.scores(prepared, pixels) == pytest.approx(runtime.scores(model, pixels))


@pytest.mark.parametrize("method", METHODS)
def test_ranges_hold_zero_and_what_counts(method: str) -> None:
    """Each method's ranges lie within the values seen, and reach most of the way."""
    model = prepare(scaled(1 / 255, 0.0))
    inputs = np.random.default_rng(2).integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
    found = ranges(model, inputs)[method]
    low, high = found["turned_scaled"]
    assert low == 0
    assert 0.9 < high <= 1
    assert all(low <= 0 <= high for low, high in found.values())


def test_a_shifted_bias_is_set_right() -> None:
    """A quantized model whose bias is off gets back, channel by channel, the original's means."""
    prepared = prepare(scaled(1 / 255, 0.0))
    inputs = np.random.default_rng(2).integers(0, 256, (20, 4, 4, 3), dtype=np.uint8)
    known = ranges(prepared, inputs)["min-max"]
    model = quantized(prepared, inputs[:1], known, weights.overrides(prepared))
    graph = Graph(model)
    (conv,) = [node for node in graph.nodes if node.op_type == "Conv"]
    values, scale, *_ = graph.makers[conv.input[2]].input
    graph.set(values, graph[values] + np.array([5000, -3000], np.int32))

    def off() -> Any:
        (got,) = zip(*runtime.batches(model, inputs, [conv.output[0]]), strict=True)
        (expected,) = bias.means(prepared, inputs).values()
        return np.abs(np.concatenate(got).mean(axis=(0, 2, 3)) - expected)

    assert np.all(off() > 1000 * graph[scale])
    bias.correct(model, bias.means(prepared, inputs), inputs)
    assert np.all(off() < graph[scale])
