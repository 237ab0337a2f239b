"""Which options of execution providers a configuration may have that a client sends.

An option may name a file to write, a library to load, or an address in memory. So a client chooses
from a list of those that do not, and writes values that are words and numbers. The owner's
config.pbtxt may have any. docs/providers.md has the source of the options.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import LoadError
from crossrun_server.model_config import bounds
from crossrun_server.runtime import openvino_options, providers

_CUDA = {
    "device_id", "gpu_mem_limit", "arena_extend_strategy", "cudnn_conv_algo_search",
    "do_copy_in_default_stream", "cudnn_conv_use_max_workspace", "cudnn_conv1d_pad_to_nc1d",
    "enable_cuda_graph", "use_tf32", "prefer_nhwc", "fuse_conv_bias", "tunable_op_enable",
}  # fmt: skip
_TENSORRT = {
    "device_id", "trt_max_workspace_size", "trt_max_partition_iterations", "trt_min_subgraph_size",
    "trt_fp16_enable", "trt_bf16_enable", "trt_int8_enable", "trt_dla_enable", "trt_dla_core",
    "trt_builder_optimization_level", "trt_auxiliary_streams", "trt_cuda_graph_enable",
    "trt_sparsity_enable", "trt_layer_norm_fp32_fallback", "trt_profile_min_shapes",
    "trt_profile_max_shapes", "trt_profile_opt_shapes",
}  # fmt: skip
_OPENVINO = {
    "device_type", "device_id", "precision", "num_of_threads", "num_streams", "model_priority",
    "enable_opencl_throttling", "enable_qdq_optimizer", "disable_dynamic_shapes",
}  # fmt: skip
# Provider → the options that a client may choose.
ALLOWED: Mapping[str, set[str]] = {
    providers.CUDA: _CUDA,
    providers.TENSORRT: _TENSORRT,
    providers.OPENVINO: _OPENVINO,
    providers.MIGRAPHX: {"device_id", "migraphx_fp16_enable", "migraphx_bf16_enable"},
    providers.QNN: {"htp_performance_mode", "enable_htp_fp16_precision"},
    providers.COREML: {"ModelFormat", "MLComputeUnits", "RequireStaticInputShapes"},
    providers.CANN: {"device_id", "precision_mode"},
}
# Properties that a client may set in OpenVINO's load_config, which is JSON by device.
PROPERTIES = {
    "INFERENCE_PRECISION_HINT", "EXECUTION_MODE_HINT", "PERFORMANCE_HINT",
    "PERFORMANCE_HINT_NUM_REQUESTS", "INFERENCE_NUM_THREADS", "NUM_STREAMS", "MODEL_PRIORITY",
    "ENABLE_HYPER_THREADING", "SCHEDULING_CORE_TYPE",
}  # fmt: skip
VALUE = re.compile(r"[\w.,:;+-]{0,200}")  # no path, and nothing that is read as more than it is
NUMBER = re.compile(r"\d+")
MOST = 10**12  # bytes of memory
THREADS = {"num_of_threads", "num_streams", "INFERENCE_NUM_THREADS", "NUM_STREAMS"}


def check(proto: pb.ModelConfig) -> None:
    """Refuse options that a client may not choose.

    Raises:
        LoadError: the message names the option, and what is allowed.
    """
    for provider, option, value in _options(proto):
        if not providers.is_known(provider):
            continue  # the load names it
        full = providers.full_name(provider)
        if full == providers.OPENVINO and option == openvino_options.CONFIG:
            _check_load_config(value)
        else:
            _check(f"{provider}.{option}", option, value, ALLOWED.get(full, set()))


def _options(proto: pb.ModelConfig) -> Iterator[tuple[str, str, str]]:
    """Yield each option's provider, as it is written, name and value."""
    for key, parameter in proto.parameters.items():
        provider, dot, option = key.partition(".")
        if dot:
            yield provider, option, parameter.string_value
    listed = proto.optimization.execution_accelerators
    for one in (*listed.gpu_execution_accelerator, *listed.cpu_execution_accelerator):
        for option, value in one.parameters.items():
            yield one.name, option, value


def _check(title: str, name: str, value: str, allowed: set[str]) -> None:
    if name not in allowed:
        known = ", ".join(sorted(allowed)) or "none"
        raise LoadError(f"config: a client may not choose {title}; expected one of: {known}")
    if not VALUE.fullmatch(value):
        raise LoadError(f"config: {title} is {value!r}, and a client may send a word or a number")
    most = bounds.MOST_THREADS if name in THREADS else MOST
    if NUMBER.fullmatch(value) and int(value) > most:
        raise LoadError(f"config: {title} is {value}, and a client may send {most} at most")


def _check_load_config(text: str) -> None:
    """Check OpenVINO's properties; what is no such JSON is the load's business to explain."""
    try:
        devices = json.loads(text)
    except (ValueError, RecursionError):
        devices = None
    if not isinstance(devices, dict) or not all(isinstance(one, dict) for one in devices.values()):
        raise LoadError("config: openvino.load_config is no JSON of properties by device")
    for device, properties in devices.items():
        for name, value in properties.items():
            _check(f"openvino.load_config {device}.{name}", name, _text(value), PROPERTIES)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
