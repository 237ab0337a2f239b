"""OpenVINO's options: which precision they ask for, and which of them it would ignore.

Nearly all of them are in one option, `load_config`: JSON, properties by device. OpenVINO silently
ignores what is misspelt in there, and then computes in another precision than was asked for.
https://onnxruntime.ai/docs/execution-providers/OpenVINO-ExecutionProvider.html
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from crossrun_server.errors import LoadError

PROVIDER = "OpenVINOExecutionProvider"
CONFIG, PRECISION = "load_config", "precision"
HINT, MODE = "INFERENCE_PRECISION_HINT", "EXECUTION_MODE_HINT"
# Names in load_config: of devices, and of groups of devices.
SINGLE, SEVERAL = ("CPU", "GPU", "NPU"), ("AUTO", "HETERO", "MULTI")
HAVE_F32 = ("CPU", "GPU")
# OpenVINO's names of precisions, in upper or lower case → ours; two leave the choice to OpenVINO.
HINTS = {"f32": "f32", "bf16": "bf16", "f16": "fp16", "undefined": "", "dynamic": ""}
# The deprecated option. ACCURACY is the precision of the model's own tensors.
PRECISIONS = {"FP32": "f32", "FP16": "fp16", "ACCURACY": "f32"}
MODES = {"ACCURACY": "f32"}
# Options that only a build reads → what to use with a plugin.
IN_PLUGINS = {
    PRECISION: f"{CONFIG} with {HINT}",
    "num_of_threads": f"{CONFIG} with INFERENCE_NUM_THREADS",
    "num_streams": f"{CONFIG} with NUM_STREAMS",
    "cache_dir": f"{CONFIG} with CACHE_DIR",
    "model_priority": f"{CONFIG} with MODEL_PRIORITY",
    "enable_qdq_optimizer": f"{CONFIG} with NPU_QDQ_OPTIMIZATION",
    "enable_opencl_throttling": f"{CONFIG} with PLUGIN_THROTTLE",
    "device_id": "device_type",
    "device_luid": "device_type",
}


def in_f32(options: Mapping[str, str]) -> dict[str, str]:
    """Tell OpenVINO to compute in f32 wherever the options leave the precision to it.

    Raises:
        LoadError: OpenVINO would ignore something in `load_config`.
    """
    config = _config(options)
    if _by_option(options) or any(HINT in str(config.get(name)) for name in SEVERAL):
        return dict(options)
    for device in HAVE_F32:
        properties = config.setdefault(device, {})
        if not {HINT, MODE} & properties.keys():
            properties[HINT] = "f32"
    return {**options, CONFIG: json.dumps(config)}


def precision(options: Mapping[str, str], device: str) -> str:
    """Return the precision that OpenVINO is told to use for fp32 on a device: f32, bf16 or fp16.

    Args:
        options: the provider's.
        device: CPU, GPU.1, NPU, or several, such as AUTO:GPU,CPU.

    Returns:
        Empty if the options leave it to OpenVINO.

    Raises:
        LoadError: as `in_f32`.
    """
    config = _config(options)
    if any(HINT in str(config.get(name)) for name in SEVERAL):
        return ""
    devices = re.findall("|".join(SINGLE), device.upper()) or HAVE_F32
    named = {_precision_of(config.get(one, {}), options) for one in devices}
    return named.pop() if len(named) == 1 else ""


def check_for_plugin(options: Mapping[str, str]) -> None:
    """Refuse options that the plugin would ignore with a mere warning.

    Raises:
        LoadError: only a build reads an option.
    """
    for option in options.keys() & IN_PLUGINS.keys():
        raise LoadError(
            f"{PROVIDER}: the plugin reads no {option!r}, expected {IN_PLUGINS[option]}"
        )


def _precision_of(properties: Mapping[str, Any], options: Mapping[str, str]) -> str:
    if HINT in properties:
        return HINTS[properties[HINT].lower()]
    if MODE in properties:
        return MODES.get(str(properties[MODE]).upper(), "")
    return PRECISIONS.get(_by_option(options), "")


def _by_option(options: Mapping[str, str]) -> str:
    """Return the value of `precision`, or the end of a device's name, an older way, as GPU_FP16."""
    older = options.get("device_type", "").rpartition("_")[2]
    return options.get(PRECISION, older if older in PRECISIONS else "").upper()


def _config(options: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    text = options.get(CONFIG) or "{}"
    try:
        config = json.loads(text)
    except ValueError as error:
        raise _error(f"{CONFIG} is not JSON: {error}") from error
    if not isinstance(config, dict) or not all(isinstance(one, dict) for one in config.values()):
        example = json.dumps({"CPU": {HINT: "bf16"}})
        raise LoadError(
            f"{PROVIDER}: {CONFIG} is {text}, expected properties by device, such as {example}"
        )
    for device, properties in config.items():
        _check(device, properties)
    return config


def _check(device: str, properties: Mapping[str, Any]) -> None:
    if device not in (*SINGLE, *SEVERAL):
        known = ", ".join((*SINGLE, *SEVERAL))
        raise LoadError(
            f"{PROVIDER}: {CONFIG} names the device {device!r}, expected one of {known}"
        )
    hint = properties.get(HINT, "f32")
    if not isinstance(hint, str) or hint.lower() not in HINTS:
        raise LoadError(
            f"{PROVIDER}: {CONFIG} has {HINT} {hint!r}, expected one of {', '.join(HINTS)}"
        )


def _error(text: str) -> LoadError:
    return LoadError(f"{PROVIDER}: {text}")
