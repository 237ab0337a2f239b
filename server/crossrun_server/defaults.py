"""Options of execution providers where nobody gives others and onnxruntime's own would surprise."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from crossrun_server import caches
from crossrun_server.providers import (
    CUDA,
    DEVICE_TYPE,
    MIGRAPHX,
    OPENVINO,
    QNN,
    TENSORRT,
    Provider,
)

log = logging.getLogger(__name__)

DEFAULTS: Mapping[str, Mapping[str, str]] = {
    # onnxruntime's own is an exhaustive search, which times all algorithms anew for each shape.
    CUDA: {"cudnn_conv_algo_search": "HEURISTIC"},
    # Building an engine takes long; where they are kept is added below.
    TENSORRT: {"trt_engine_cache_enable": "1", "trt_timing_cache_enable": "1"},
}
ENGINES, TIMINGS = "trt_engine_cache_path", "trt_timing_cache_path"


def completed(provider: Provider, model: Path | bytes) -> Provider:
    """Give a provider our options where the own are left out.

    Args:
        provider: with the options that were given.
        model: the file that a session is to be made of, or its bytes.
    """
    ours = DEFAULTS.get(provider.name, {})
    if provider.name == TENSORRT:
        ours = _kept(ours, provider, model)
    return Provider(provider.name, {**ours, **provider.options})


def _kept(ours: Mapping[str, str], provider: Provider, model: Path | bytes) -> Mapping[str, str]:
    """Add where TensorRT's caches lie; without them where that folder cannot be written.

    An engine holds the weights of its model, and onnxruntime names it by the shape of the graph:
    so each model, with its options, has a folder of its own.
    """
    home, options = caches.folder("tensorrt"), sorted(provider.options.items())
    try:
        key = caches.key(model, options, *_beside(model))
        places = {ENGINES: home / "engines" / key, TIMINGS: home / "timings"}
        for place in places.values():
            place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.warning("TensorRT's engines cannot be kept for the next start: %s", error)
        return {}
    return {**ours, **{option: str(place) for option, place in places.items()}}


def _beside(model: Path | bytes) -> list[tuple[str, int, int]]:
    """The other files in a model's folder, which may hold its weights: name, bytes, time."""
    if isinstance(model, bytes):
        return []
    files = sorted(file for file in model.parent.iterdir() if file != model)
    return [(file.name, (found := file.stat()).st_size, found.st_mtime_ns) for file in files]


# Where options name what a provider computes fp32 in: option → what each value asks for.
ASKED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    CUDA: {"use_tf32": {"0": "f32", "1": "tf32"}},
    TENSORRT: {"trt_fp16_enable": {"1": "fp16"}, "trt_bf16_enable": {"1": "bf16"}},
    MIGRAPHX: {"migraphx_fp16_enable": {"1": "fp16"}, "migraphx_bf16_enable": {"1": "bf16"}},
    QNN: {"enable_htp_fp16_precision": {"1": "fp16", "0": "f32"}},
    OPENVINO: {"precision": {"FP32": "f32", "FP16": "fp16"}},
}
HINTS = {"f32": "f32", "bf16": "bf16", "f16": "fp16"}  # OpenVINO's names of them


def precision(provider: Provider) -> str:
    """Tell in what a provider was told to compute fp32: f32, tf32, bf16, fp16.

    Args:
        provider: with all its options, as `completed` gives it.

    Returns:
        Empty where no option says.
    """
    if provider.name == OPENVINO and (hint := _hint(provider)):
        return HINTS.get(hint, "")
    asked = ASKED.get(provider.name, {})
    found = (values.get(provider.options.get(option, "")) for option, values in asked.items())
    return next((one for one in found if one), "")


def _hint(provider: Provider) -> str:
    """OpenVINO's INFERENCE_PRECISION_HINT for the device that it runs on."""
    try:
        devices = json.loads(provider.options.get("load_config", "{}"))
        device = provider.options.get(DEVICE_TYPE, "CPU").partition(".")[0].upper()
        return str(devices.get(device, {}).get("INFERENCE_PRECISION_HINT", ""))
    except (ValueError, AttributeError):  # no JSON, or no objects: OpenVINO will say so
        return ""
