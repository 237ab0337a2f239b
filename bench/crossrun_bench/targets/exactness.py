"""The options with which execution providers compute fp32 in fp32. Our server sets the same ones.

Without them some providers use a lower precision, and comparing speeds would compare different
answers. An option that the user sets comes first, and results name its precision.
"""

import json
import re
from dataclasses import replace
from typing import Any

from crossrun_bench.errors import BenchError
from crossrun_bench.providers import Provider

OPENVINO = "OpenVINOExecutionProvider"
_CONFIG, _HINT, _MODE = "load_config", "INFERENCE_PRECISION_HINT", "EXECUTION_MODE_HINT"
_EXACT = {
    "CUDAExecutionProvider": {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
    "QNNExecutionProvider": {"enable_htp_fp16_precision": "0"},
    "CoreMLExecutionProvider": {"ModelFormat": "MLProgram"},
    "CANNExecutionProvider": {"precision_mode": "must_keep_origin_dtype"},
}
# The precision that an option with its value asks for.
_SAID = {
    "use_tf32=0": "f32",
    "use_tf32=1": "tf32",
    "enable_htp_fp16_precision=0": "f32",
    "enable_htp_fp16_precision=1": "fp16",
    "ModelFormat=MLProgram": "f32",
    "ModelFormat=NeuralNetwork": "fp16",
    "precision_mode=must_keep_origin_dtype": "f32",
    "precision_mode=force_fp16": "fp16",
    "trt_fp16_enable=1": "fp16",
    "trt_bf16_enable=1": "bf16",
    "migraphx_fp16_enable=1": "fp16",
    "migraphx_bf16_enable=1": "bf16",
    "precision=FP32": "f32",
    "precision=FP16": "fp16",
    "precision=ACCURACY": "f32",
}
# OpenVINO's devices that have f32, others that load_config may name, and the hint's values.
_DEVICES, _OTHERS = ("CPU", "GPU"), ("NPU", "AUTO", "HETERO", "MULTI")
_HINTS = {"f32": "f32", "bf16": "bf16", "f16": "fp16", "undefined": "", "dynamic": ""}
# Options that only OpenVINO's build of onnxruntime reads; the plugin ignores them.
_BUILDS = {"precision", "num_of_threads", "num_streams", "cache_dir", "model_priority"}


def exact(asked: Provider) -> Provider:
    """The provider with options that keep fp32, unless its own options say otherwise.

    Raises:
        BenchError: OpenVINO would ignore what `load_config` says.
    """
    if asked.name != OPENVINO:
        return replace(asked, options={**_EXACT.get(asked.name, {}), **asked.options})
    config = _config(asked)
    if "precision" in asked.options or _HINT in str([config.get(name) for name in _OTHERS]):
        return asked
    for device in _DEVICES:
        properties = config.setdefault(device, {})
        if not {_HINT, _MODE} & properties.keys():
            properties[_HINT] = "f32"
    return replace(asked, options={**asked.options, _CONFIG: json.dumps(config)})


def precision(asked: Provider) -> str:
    """The precision in which a provider computes fp32: f32, tf32, bf16, fp16; "" if unknown."""
    options = exact(asked).options
    if asked.name == OPENVINO and "precision" not in options:
        device = options.get("device_type", "CPU").upper()
        devices = re.findall("|".join((*_DEVICES, "NPU")), device) or _DEVICES
        said = {_said(_config(exact(asked)).get(device, {})) for device in devices}
        return said.pop() if len(said) == 1 else ""
    told = (_SAID.get(f"{option}={value}") for option, value in options.items())
    return next(filter(None, told), "")


def has_choice(name: str) -> bool:
    """Whether a provider would use a lower precision for fp32, and an option prevents it."""
    return name == OPENVINO or name in _EXACT


def check_for_plugin(options: dict[str, str]) -> None:
    """Refuse an option that OpenVINO's plugin would ignore.

    Raises:
        BenchError: there is such an option.
    """
    for option in options.keys() & _BUILDS:
        raise BenchError(f"the plugin ignores '{option}': expected a property in {_CONFIG}")


def _said(properties: dict[str, Any]) -> str:
    if _HINT in properties:
        return _HINTS[properties[_HINT].lower()]
    return "f32" if properties.get(_MODE) == "ACCURACY" else ""


def _config(asked: Provider) -> dict[str, dict[str, Any]]:
    text = asked.options.get(_CONFIG) or "{}"
    expected = f'expected as {{"CPU": {{"{_HINT}": "bf16"}}}}'
    try:
        config: dict[str, dict[str, Any]] = json.loads(text)
        hints = [str(one.get(_HINT, "f32")).lower() for one in config.values()]
    except (ValueError, AttributeError) as error:
        raise BenchError(f"{_CONFIG} of {asked.name} is {text}, {expected}") from error
    if not config.keys() <= {*_DEVICES, *_OTHERS} or not set(hints) <= _HINTS.keys():
        raise BenchError(f"{_CONFIG} of {asked.name} is {text}, {expected}")
    return config
