"""Quantizes a model by each method of calibration and keeps the one that agrees best."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_static

from crossrun_export import runtime
from crossrun_export.errors import ExportError
from crossrun_export.graph import Graph
from crossrun_export.quantize import bias, weights
from crossrun_export.quantize.activations import METHODS, Ranges, Reader, ranges
from crossrun_export.quantize.compact import compact
from crossrun_export.quantize.prepare import prepare
from crossrun_export.runtime import Inputs, Outputs

# A MobileNet's first block: few channels, for which onnxruntime's float kernels are about as fast,
# and half of all that int8 would change in the answers. A model of a few layers has no such block.
FLOAT_LAYERS, FEW_LAYERS = 2, 4


@dataclass(frozen=True)
class Quantized:
    """An int8 model, and how each method of calibration did on the inputs it was calibrated on."""

    model: onnx.ModelProto
    method: str
    merits: Mapping[str, float]  # method → the first value that `merit` returns


# How near answers are to the original's: the greater the better, the second between equals.
Merit = Callable[[Outputs, Outputs], tuple[float, float]]


def quantize(
    model: onnx.ModelProto,
    inputs: Inputs,
    tell: Callable[[str], None],
    merit: Merit,
    *,
    float_ends: bool = False,
) -> Quantized:
    """Quantize a float model.

    Args:
        model: of one input.
        inputs: to calibrate on, what the model takes, the first axis being the batch's.
        tell: is told what is under way.
        merit: holds the model's outputs against the original's.
        float_ends: whether the last layers stay float, as boxes want it for their resolution.

    Raises:
        ExportError: it has no layer with weights, or onnxruntime cannot quantize it.
    """
    prepared, expected = prepare(model), runtime.outputs(model, inputs)
    if not Graph(prepared).weighted:
        raise ExportError("int8: the model has no convolution and no dense layer to quantize")
    try:
        candidates = _candidates(prepared, inputs, tell, float_ends)
    except Exception as error:  # the quantizer raises many kinds
        why = " ".join(str(error).split())
        raise ExportError(f"int8: onnxruntime cannot quantize the model: {why}") from error
    merits = {
        method: merit(expected, runtime.outputs(candidate, inputs))
        for method, candidate in candidates.items()
    }
    best = max(METHODS, key=merits.__getitem__)
    return Quantized(candidates[best], best, {name: found for name, (found, _) in merits.items()})


def _candidates(
    prepared: onnx.ModelProto, inputs: Inputs, tell: Callable[[str], None], float_ends: bool
) -> dict[str, onnx.ModelProto]:
    """The quantized model by each method of calibration."""
    tell("int8: calibrating")
    wanted, scales = bias.means(prepared, inputs), weights.overrides(prepared)
    found = {}
    for method, known in ranges(prepared, inputs).items():
        tell(f"int8: quantizing by {method}")
        found[method] = quantized(prepared, inputs[:1], known, scales, float_ends)
        bias.correct(found[method], wanted, inputs)
        compact(found[method])
        onnx.checker.check_model(found[method], full_check=True)
    return found


def quantized(
    model: onnx.ModelProto,
    some: Inputs,
    known: Ranges,
    scales: weights.Overrides,
    float_ends: bool = False,
) -> onnx.ModelProto:
    """onnxruntime's quantization of a prepared model with our scales, before any correction.

    It is a float model with QuantizeLinear and DequantizeLinear around each tensor; its nodes have
    the names of those that were prepared.

    Args:
        model: the prepared one.
        some: inputs of it, which onnxruntime runs although it is told every range.
        known: the ranges of the activations.
        scales: those of the weights.
        float_ends: as of `quantize`.
    """
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "before.onnx", Path(folder) / "after.onnx"
        onnx.save(model, before)
        quantize_static(
            before,
            after,
            Reader(model.graph.input[0].name, some, runtime.at_once(model)),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_float(model, float_ends),
            extra_options={
                "TensorQuantOverrides": _overrides(known) | scales,
                "OpTypesToExcludeOutputQuantization": ["Gemm"],
            },
        )
        return onnx.load(after)


def _overrides(known: Ranges) -> weights.Overrides:
    """The ranges of all activations as onnxruntime's TensorQuantOverrides."""
    return {
        name: [{"quant_type": QuantType.QUInt8, "rmin": low, "rmax": high}]
        for name, (low, high) in known.items()
    }


def _float(model: onnx.ModelProto, float_ends: bool) -> list[str]:
    """The nodes before the first layer and after the last ones that are to be int8.

    What no layer follows, softmax above all, is cheap, and exact so.
    """
    graph = Graph(model)
    nodes, layers = graph.nodes, graph.weighted
    first = nodes.index(layers[FLOAT_LAYERS]) if len(layers) > FEW_LAYERS else 0
    before = graph.before(layers)
    kept = [] if float_ends else layers
    last = [node for node in nodes if node.name not in before and node not in kept]
    return [node.name for node in (*nodes[:first], *last)]
