"""Options that a provider gets where nobody gives others."""

from pathlib import Path

import onnxruntime
import pytest

from crossrun_server.defaults import completed, precision
from crossrun_server.providers import CPU, CUDA, OPENVINO, TENSORRT, Provider, Request
from crossrun_server.session import Session
from tests import models

CACHES = ("trt_engine_cache_path", "trt_timing_cache_path")


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
    assert options(CUDA, model, device_id="1") == {search: "HEURISTIC", "device_id": "1"}
    assert options(CUDA, model, **{search: "EXHAUSTIVE"}) == {search: "EXHAUSTIVE"}
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

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime.SessionOptions, "add_provider", recorded)
    Session(model, Request((Provider(CUDA, {"device_id": "0"}), Provider(CPU))))
    assert handed[CUDA] == {"cudnn_conv_algo_search": "HEURISTIC", "device_id": "0"}


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        (CPU, {}, ""),
        (CUDA, {"use_tf32": "1"}, "tf32"),
        (CUDA, {"use_tf32": "0"}, "f32"),
        (TENSORRT, {"trt_fp16_enable": "1"}, "fp16"),
        (TENSORRT, {}, ""),
        (OPENVINO, {"load_config": '{"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}'}, "bf16"),
        (OPENVINO, {"load_config": '{"GPU": {"INFERENCE_PRECISION_HINT": "f16"}}'}, ""),
        (
            OPENVINO,
            {
                "device_type": "GPU.1",
                "load_config": '{"GPU": {"INFERENCE_PRECISION_HINT": "f16"}}',
            },
            "fp16",
        ),
        (OPENVINO, {"load_config": "nonsense"}, ""),
        (OPENVINO, {"precision": "FP32"}, "f32"),
    ],
)
def test_what_a_provider_was_told_to_compute_in_is_read(
    name: str, given: dict[str, str], expected: str
) -> None:
    """The precision is what its options say, on the device that it runs on; else nothing."""
    assert precision(Provider(name, given)) == expected
