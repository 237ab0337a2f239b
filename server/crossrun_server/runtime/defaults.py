"""Options of execution providers where nobody gives others and onnxruntime's own would surprise.

A model was proven in fp32: a provider that would compute it in less is told not to, unless
somebody asks. server/README.md has the table with each one's source.
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
    # onnxruntime's own is an exhaustive search, which times all algorithms anew for each shape.
    CUDA: {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
    QNN: {"enable_htp_fp16_precision": "0"},
    # Its tensors have types; NeuralNetwork, the default, is computed in fp16 on all but the CPU.
    COREML: {"ModelFormat": "MLProgram"},
    CANN: {"precision_mode": "must_keep_origin_dtype"},
}
# Where an option names what a provider computes fp32 in: option → what each value asks for.
ASKED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    CUDA: {"use_tf32": {"0": "f32", "1": "tf32"}},
    TENSORRT: {"trt_fp16_enable": {"1": "fp16"}, "trt_bf16_enable": {"1": "bf16"}},
    MIGRAPHX: {"migraphx_fp16_enable": {"1": "fp16"}, "migraphx_bf16_enable": {"1": "bf16"}},
    QNN: {"enable_htp_fp16_precision": {"0": "f32", "1": "fp16"}},
    COREML: {"ModelFormat": {"MLProgram": "f32", "NeuralNetwork": "fp16"}},
    CANN: {"precision_mode": {"must_keep_origin_dtype": "f32", "force_fp16": "fp16"}},
}
ON_PURPOSE = {
    CUDA: "cuda.use_tf32=1",
    TENSORRT: "tensorrt.trt_fp16_enable=1",
    MIGRAPHX: "migraphx.migraphx_fp16_enable=1",
    QNN: "qnn.enable_htp_fp16_precision=1",
    COREML: "coreml.ModelFormat=NeuralNetwork",
    CANN: "cann.precision_mode=force_fp16",
    OPENVINO: 'openvino.load_config={"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}',
}
OFTEN_HALF = {QNN, COREML, CANN}  # run on devices that may have no fp32
# The one way to keep TensorRT from TF32: NVIDIA's libraries read it as they start.
OVERRIDE = "NVIDIA_TF32_OVERRIDE"


def completed(provider: Provider, model: Path | bytes) -> Provider:
    """Give a provider our options where the own are left out.

    Args:
        provider: with the options that were given.
        model: the file that a session is to be made of, or its bytes.

    Raises:
        LoadError: an option would be passed over.
    """
    told = _precise(provider)
    if told.name != TENSORRT:
        return told
    return Provider(told.name, {**tensorrt_cache.kept(told.options, model), **told.options})


def precision(provider: Provider) -> str:
    """Tell in what a provider is told to compute fp32: f32, tf32, bf16, fp16.

    Args:
        provider: with all its options, as `completed` gives it.

    Returns:
        Empty where nothing says.

    Raises:
        LoadError: an option would be passed over.
    """
    if provider.name == OPENVINO:
        return openvino_options.precision(provider.options, device(provider))
    asked = ASKED.get(provider.name, {})
    told = (values.get(_plain(provider.options.get(option))) for option, values in asked.items())
    found = next((one for one in told if one), "")
    if provider.name in (CUDA, TENSORRT) and found in ("", "tf32"):
        return "f32" if os.environ.get(OVERRIDE) == "0" else found
    return found


def told(provider: Provider) -> str:
    """Say for people in what a provider computes fp32, and whether it was asked to.

    Args:
        provider: with the options that were given.

    Returns:
        As `f32` or `bf16 as asked`; empty where nothing says.
    """
    asked = precision(provider)
    return f"{asked} as asked" if asked else precision(_precise(provider))


def on_purpose(name: str) -> str:
    """Name the option of a provider that asks for less than fp32, as --provider-option takes it.

    Returns:
        Empty for a provider that has none.
    """
    return ON_PURPOSE.get(name, "")


def _precise(provider: Provider) -> Provider:
    if provider.name == OPENVINO:
        return Provider(provider.name, openvino_options.in_f32(provider.options))
    return Provider(provider.name, {**DEFAULTS.get(provider.name, {}), **provider.options})


def _plain(value: str | None) -> str:
    """Write a switch as onnxruntime's documents do; it reads words, too."""
    return {"true": "1", "false": "0"}.get((value or "").lower(), value or "")
