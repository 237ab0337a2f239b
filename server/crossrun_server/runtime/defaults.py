"""Our default options of execution providers, where onnxruntime's own would surprise.

A model is proven in fp32, so a provider that would compute it in less is told not to, unless
somebody asks for it. docs/providers.md has the source of each option.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from crossrun_server.runtime import openvino_options, tensorrt_cache
from crossrun_server.runtime.providers import (
    CANN,
    COREML,
    CUDA,
    MIGRAPHX,
    OPENVINO,
    QNN,
    TENSORRT,
    Provider,
    device,
)

DEFAULTS: Mapping[str, Mapping[str, str]] = {
    # onnxruntime's default is an exhaustive search: it times all algorithms for each new shape.
    CUDA: {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
    QNN: {"enable_htp_fp16_precision": "0"},
    # Its tensors have types. The default, NeuralNetwork, computes in fp16 except on the CPU.
    COREML: {"ModelFormat": "MLProgram"},
    CANN: {"precision_mode": "must_keep_origin_dtype"},
}
# Options that choose the precision of fp32 models: option → value → precision.
PRECISION_OPTIONS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    CUDA: {"use_tf32": {"0": "f32", "1": "tf32"}},
    TENSORRT: {"trt_fp16_enable": {"1": "fp16"}, "trt_bf16_enable": {"1": "bf16"}},
    MIGRAPHX: {"migraphx_fp16_enable": {"1": "fp16"}, "migraphx_bf16_enable": {"1": "bf16"}},
    QNN: {"enable_htp_fp16_precision": {"0": "f32", "1": "fp16"}},
    COREML: {"ModelFormat": {"MLProgram": "f32", "NeuralNetwork": "fp16"}},
    CANN: {"precision_mode": {"must_keep_origin_dtype": "f32", "force_fp16": "fp16"}},
}
# The option of a provider that asks for less than fp32.
ON_PURPOSE = {
    CUDA: "cuda.use_tf32=1",
    TENSORRT: "tensorrt.trt_fp16_enable=1",
    MIGRAPHX: "migraphx.migraphx_fp16_enable=1",
    QNN: "qnn.enable_htp_fp16_precision=1",
    COREML: "coreml.ModelFormat=NeuralNetwork",
    CANN: "cann.precision_mode=force_fp16",
    OPENVINO: 'openvino.load_config={"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}',
}
OFTEN_HALF = {QNN, COREML, CANN}  # providers of devices that may not have fp32
# The only way to keep TensorRT from TF32; NVIDIA's libraries read it when they start.
OVERRIDE = "NVIDIA_TF32_OVERRIDE"


def completed(provider: Provider, model: Path | bytes) -> Provider:
    """Add our default options to a provider's own.

    Args:
        provider: with the options that were given.
        model: the file of the session that is to be made, or its bytes.

    Raises:
        LoadError: an option would be ignored.
    """
    precise = _precise(provider)
    if precise.name != TENSORRT:
        return precise
    cached = tensorrt_cache.options(precise.options, model)
    return Provider(precise.name, {**cached, **precise.options})


def precision(provider: Provider) -> str:
    """Return the precision that a provider is told to use for fp32: f32, tf32, bf16 or fp16.

    Args:
        provider: with all its options, as `completed` returns it.

    Returns:
        Empty if no option says it.

    Raises:
        LoadError: an option would be ignored.
    """
    if provider.name == OPENVINO:
        return openvino_options.precision(provider.options, device(provider))
    options = PRECISION_OPTIONS.get(provider.name, {})
    named = (values.get(_plain(provider.options.get(option))) for option, values in options.items())
    first = next((one for one in named if one), "")
    if provider.name in (CUDA, TENSORRT) and first in ("", "tf32"):
        return "f32" if os.environ.get(OVERRIDE) == "0" else first
    return first


def described_precision(provider: Provider) -> str:
    """Say in which precision a provider computes fp32, and whether it was asked to.

    Args:
        provider: with the options that were given.

    Returns:
        Text such as `f32` or `bf16 as asked`; empty if no option says it.
    """
    asked = precision(provider)
    return f"{asked} as asked" if asked else precision(_precise(provider))


def on_purpose(name: str) -> str:
    """Return the option of a provider that asks for less than fp32, for --provider-option.

    Returns:
        Empty if it has none.
    """
    return ON_PURPOSE.get(name, "")


def _precise(provider: Provider) -> Provider:
    if provider.name == OPENVINO:
        return Provider(provider.name, openvino_options.in_f32(provider.options))
    return Provider(provider.name, {**DEFAULTS.get(provider.name, {}), **provider.options})


def _plain(value: str | None) -> str:
    """Return a switch as 1 or 0; onnxruntime also reads words."""
    return {"true": "1", "false": "0"}.get((value or "").lower(), value or "")
