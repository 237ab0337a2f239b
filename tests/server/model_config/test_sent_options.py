"""Options of execution providers in a configuration that a client sends."""

import json

import pytest

from crossrun_server.errors import LoadError
from crossrun_server.model_config import config

ALLOWED: dict[str, str] = {
    "openvino.device_type": "GPU.1",
    "openvino.num_of_threads": "2",
    "openvino.load_config": '{"CPU": {"INFERENCE_PRECISION_HINT": "bf16", "NUM_STREAMS": 2}}',
    "cuda.use_tf32": "1",
    "cuda.gpu_mem_limit": "2147483648",
    "CUDAExecutionProvider.device_id": "0",
    "tensorrt.trt_profile_min_shapes": "x:1x3x224x224,y:1x2",
    "scores.output": "probabilities",
}
# Files that would be written, libraries that would be loaded, addresses that would be called.
REFUSED: dict[str, str] = {
    "openvino.cache_dir": "cache",
    "openvino.load_config": '{"CPU": {"CACHE_DIR": "cache"}}',
    "OPENVINO.CACHE_DIR": "cache",
    "cuda.user_compute_stream": "4096",
    "cuda.gpu_external_alloc": "4096",
    "tensorrt.trt_engine_cache_path": "cache",
    "tensorrt.trt_timing_cache_path": "cache",
    "tensorrt.trt_extra_plugin_lib_paths": "evil.so",
    "tensorrt.trt_engine_decryption_lib_path": "evil.so",
    "tensorrt.trt_onnx_model_folder_path": "folder",
    "qnn.backend_path": "evil.so",
    "qnn.profiling_file_path": "file",
    "coreml.ModelCacheDirectory": "folder",
    "migraphx.migraphx_model_cache_dir": "folder",
    "dml.device_id": "1",
    "cpu.whatever": "1",
}
# Values that are more than a word or a number.
VALUES: dict[str, str] = {
    "openvino.device_type": "/etc/passwd",
    "openvino.precision": "../x",
    "openvino.num_streams": "1000000",
    "openvino.num_of_threads": "1000000",
    "cuda.gpu_mem_limit": "9" * 40,
    "cuda.device_id": "0" * 201,
    "tensorrt.trt_profile_min_shapes": "x:1\n",
}
NO_JSON = ["", "[]", "file.json", '{"CPU": 1}', "[" * 100_000]


def sent(key: str, value: str) -> str:
    """A configuration with a parameter, as a client sends it."""
    parameters = {"providers": {"string_value": "cpu"}, key: {"string_value": value}}
    return json.dumps({"parameters": parameters})


@pytest.mark.parametrize("key", ALLOWED)
def test_an_option_of_the_list_is_taken(key: str) -> None:
    """Words and numbers that only tune how a model runs."""
    found = config.from_json(sent(key, ALLOWED[key]), "m")
    assert found.parameters[key].string_value == ALLOWED[key]


@pytest.mark.parametrize("key", REFUSED)
def test_any_other_option_is_refused(key: str) -> None:
    """By its name, with those that may be chosen."""
    with pytest.raises(LoadError, match=r"^config: a client may not choose .*; expected one of: "):
        config.from_json(sent(key, REFUSED[key]), "m")


@pytest.mark.parametrize("key", VALUES)
def test_a_value_is_a_word_or_a_bounded_number(key: str) -> None:
    """No path, no line feed, and no number with which a load takes the machine."""
    with pytest.raises(LoadError, match=rf"^config: {key} is .* and a client may send "):
        config.from_json(sent(key, VALUES[key]), "m")


@pytest.mark.parametrize("text", NO_JSON)
def test_load_config_is_json(text: str) -> None:
    """OpenVINO would read a file's name, too."""
    with pytest.raises(
        LoadError, match=r"openvino\.load_config is no JSON of properties by device"
    ):
        config.from_json(sent("openvino.load_config", text), "m")


def test_accelerators_have_options_as_well() -> None:
    """Triton's form is no way around."""
    accelerator = {"name": "tensorrt", "parameters": {"trt_engine_cache_path": "cache"}}
    listed = {"gpu_execution_accelerator": [accelerator]}
    text = json.dumps({"optimization": {"execution_accelerators": listed}})
    with pytest.raises(LoadError, match=r"may not choose tensorrt\.trt_engine_cache_path"):
        config.from_json(text, "m")
