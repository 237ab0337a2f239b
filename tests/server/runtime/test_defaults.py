"""Options that a provider gets where nobody gives others."""

import json
from pathlib import Path

import onnxruntime
import pytest

from crossrun_server.errors import LoadError
from crossrun_server.runtime import plugins
from crossrun_server.runtime.defaults import completed, described_precision, precision
from crossrun_server.runtime.providers import (
    CPU,
    CUDA,
    OPENVINO,
    QNN,
    TENSORRT,
    Provider,
    ProviderRequest,
)
from crossrun_server.runtime.session import Session
from tests.support import models

HINT = "INFERENCE_PRECISION_HINT"
CACHES = ("trt_engine_cache_path", "trt_timing_cache_path")


def hints(**by_device: object) -> str:
    """OpenVINO's load_config with a precision for each device."""
    return json.dumps({device: {HINT: hint} for device, hint in by_device.items()})


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's file, and a cache that is empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    models.write(tmp_path, "m", models.weigh())
    return tmp_path / "m" / "1" / "model.onnx"


def options(name: str, model: Path, **given: str) -> dict[str, str]:
    return dict(completed(Provider(name, given), model).options)


def test_what_is_given_wins(model: Path) -> None:
    """Ours fill in what is left out, of the two that surprise; others get nothing."""
    search = "cudnn_conv_algo_search"
    assert options(CUDA, model, device_id="1") == {
        search: "HEURISTIC",
        "use_tf32": "0",
        "device_id": "1",
    }
    assert options(CUDA, model, **{search: "EXHAUSTIVE"})[search] == "EXHAUSTIVE"
    assert options(TENSORRT, model, trt_engine_cache_enable="0")["trt_engine_cache_enable"] == "0"
    assert options(TENSORRT, model, trt_engine_cache_path="/e")["trt_engine_cache_path"] == "/e"
    assert options(CPU, model) == {}


def test_engines_are_kept_where_plans_are(model: Path, tmp_path: Path) -> None:
    """In folders that are there, for TensorRT makes no parents of its own."""
    found = options(TENSORRT, model)
    assert (found["trt_engine_cache_enable"], found["trt_timing_cache_enable"]) == ("1", "1")
    for place in (Path(found[option]) for option in CACHES):
        assert place.is_relative_to(tmp_path / "cache" / "crossrun" / "tensorrt")
        assert place.is_dir()


def test_no_model_gets_the_engine_of_another(model: Path) -> None:
    """Other weights, in the file or beside it, or options: another folder; timings are shared."""
    paths = [[options(TENSORRT, model)[option] for option in CACHES] for _ in range(2)]
    assert paths[0] == paths[1]
    (model.parent / "weights.bin").write_bytes(b"1")
    paths.append([options(TENSORRT, model)[option] for option in CACHES])
    model.write_bytes(b"another")
    paths.append([options(TENSORRT, model)[option] for option in CACHES])
    paths.append([options(TENSORRT, model, trt_fp16_enable="1")[option] for option in CACHES])
    engines, timings = zip(*paths, strict=True)
    assert len(set(engines)) == 4
    assert len(set(timings)) == 1


def test_without_room_for_a_cache_there_is_none(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The model loads all the same, and the log says what is lost."""
    (tmp_path / "cache").touch()
    assert options(TENSORRT, model) == {}
    assert "TensorRT's engines cannot be kept for the next start" in caplog.text


def test_a_session_is_made_with_them(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What onnxruntime is handed for CUDA holds our options beside those that were given."""
    handed: dict[str, dict[str, str]] = {}
    add = onnxruntime.SessionOptions.add_provider

    def recorded(self: object, name: str, given: dict[str, str]) -> None:
        handed[name] = given
        if name == CPU:
            add(self, name, given)

    monkeypatch.setattr(plugins, "built_in", lambda: (CUDA, CPU))
    monkeypatch.setattr(onnxruntime.SessionOptions, "add_provider", recorded)
    Session(model, ProviderRequest((Provider(CUDA, {"device_id": "0"}), Provider(CPU))))
    assert handed[CUDA] == {
        "cudnn_conv_algo_search": "HEURISTIC",
        "use_tf32": "0",
        "device_id": "0",
    }


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        (CPU, {}, ""),
        (CUDA, {"use_tf32": "1"}, "tf32"),
        (CUDA, {"use_tf32": "0"}, "f32"),
        (TENSORRT, {"trt_fp16_enable": "1"}, "fp16"),
        (TENSORRT, {}, ""),
        (OPENVINO, {"load_config": hints(CPU="bf16")}, "bf16"),
        (OPENVINO, {"load_config": hints(GPU="f16")}, ""),
        (
            OPENVINO,
            {
                "device_type": "GPU.1",
                "load_config": hints(GPU="f16"),
            },
            "fp16",
        ),
        (OPENVINO, {"device_type": "GPU_FP16"}, "fp16"),
        (OPENVINO, {"device_type": "AUTO:GPU,CPU"}, ""),
        (OPENVINO, {"load_config": '{"CPU": {"EXECUTION_MODE_HINT": "ACCURACY"}}'}, "f32"),
        (OPENVINO, {"load_config": hints(CPU="dynamic")}, ""),
        (CUDA, {"use_tf32": "True"}, "tf32"),
        (QNN, {"enable_htp_fp16_precision": "1"}, "fp16"),
        (OPENVINO, {"precision": "FP32"}, "f32"),
    ],
)
def test_what_a_provider_was_told_to_compute_in_is_read(
    name: str, given: dict[str, str], expected: str
) -> None:
    """The precision is what its options say, on the device that it runs on; else nothing."""
    assert precision(Provider(name, given)) == expected


IN_F32 = {"CPU": {HINT: "f32"}, "GPU": {HINT: "f32"}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, IN_F32),
        ({"num_of_threads": "2"}, IN_F32),
        ({"load_config": '{"CPU": {"NUM_STREAMS": "2"}}'}, {
            "CPU": {"NUM_STREAMS": "2", HINT: "f32"}, "GPU": {HINT: "f32"},
        }),
        ({"load_config": hints(CPU="bf16")}, {
            "CPU": {HINT: "bf16"}, "GPU": {HINT: "f32"},
        }),
        ({"load_config": '{"GPU": {"EXECUTION_MODE_HINT": "PERFORMANCE"}}'}, {
            "GPU": {"EXECUTION_MODE_HINT": "PERFORMANCE"}, "CPU": {HINT: "f32"},
        }),
        ({"load_config": hints(AUTO="f16")}, {"AUTO": {HINT: "f16"}}),
        ({"device_type": "NPU"}, IN_F32),  # its own properties stay as they are
        ({"precision": "FP16", "device_type": "GPU"}, None),
        ({"device_type": "GPU_FP16"}, None),
    ],
)  # fmt: skip
def test_openvino_computes_in_f32_unless_its_options_say_otherwise(
    given: dict[str, str], expected: dict[str, dict[str, str]] | None, model: Path
) -> None:
    """Our hint is put beside what load_config holds, where nothing in it speaks of precision."""
    found = options(OPENVINO, model, **given)
    assert json.loads(found.pop("load_config", "null")) == expected
    assert found == {key: value for key, value in given.items() if key != "load_config"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/etc/openvino.json", "load_config is not JSON: "),
        ("[]", "expected properties by device, such as "),
        ('{"CPU": 1}', "expected properties by device, such as "),
        ('{"cpu": {}}', "load_config names the device 'cpu', expected one of CPU, GPU, NPU"),
        ('{"INFERENCE_PRECISION_HINT": "f32"}', "expected properties by device, such as "),
        (hints(CPU="fp32"), f"{HINT} 'fp32', expected one of f32, bf16, f16"),
        (hints(CPU=16), f"{HINT} 16, expected one of f32, bf16, f16"),
    ],
)  # fmt: skip
def test_what_openvino_would_pass_over_is_refused(text: str, expected: str, model: Path) -> None:
    """A device or a precision that is misspelt would leave OpenVINO in one of its own."""
    with pytest.raises(LoadError) as caught:
        options(OPENVINO, model, load_config=text)
    assert str(caught.value).startswith(f"{OPENVINO}: ")
    assert expected in str(caught.value)


def test_a_precision_is_told_with_who_chose_it() -> None:
    """`f32` is ours, `bf16 as asked` somebody's; a provider without such an option says nothing."""
    bf16 = Provider(OPENVINO, {"load_config": hints(CPU="bf16")})
    assert [described_precision(Provider(name)) for name in (OPENVINO, CUDA, QNN)] == ["f32"] * 3
    assert described_precision(bf16) == "bf16 as asked"
    assert described_precision(Provider(CUDA, {"use_tf32": "1"})) == "tf32 as asked"
    assert [described_precision(Provider(name)) for name in (CPU, TENSORRT)] == ["", ""]


def test_tf32_is_off_where_the_environment_turns_it_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVIDIA's own switch is stronger than an option, and the only one that TensorRT has."""
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    assert precision(Provider(TENSORRT)) == "f32"
    assert precision(Provider(CUDA, {"use_tf32": "1"})) == "f32"
    assert precision(Provider(TENSORRT, {"trt_fp16_enable": "1"})) == "fp16"
