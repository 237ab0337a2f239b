"""OpenVINO, compiled in: an environment of its own, .venv-openvino."""

from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import json_format

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.runtime import providers
from crossrun_server.runtime.session import Session
from tests.support import models
from tests.support.placed import CPU, OPENVINO, config_of, infer, placements, refused, running
from tests.support.running import build, serving


def test_openvino_computes_what_it_was_asked_to(placeable: Path, tmp_path: Path) -> None:
    """All of one model, half of another; the answers are the CPU's.

    So they are on processors with bf16 as well, for OpenVINO is told to compute in f32.
    """
    x = np.linspace(-1, 1, 3 * 8 * 8, dtype=np.float32).reshape(1, 3, 8, 8)
    with serving(
        placeable, tmp_path / "log", "--provider", "openvino", environment=build("openvino")
    ) as server:
        placed = placements(server.address)
        got = infer(server.address, "conv", x)
        log = server.log.read_text()
    assert running(placed["conv"]) == {OPENVINO: 3}
    assert running(placed["determinant"]) == {OPENVINO: 1, CPU: 1}
    assert f"loaded conv version 1 on {OPENVINO} (3 nodes, f32)" in log
    session = Session(placeable / "conv/1/model.onnx", providers.parse("cpu"))
    np.testing.assert_allclose(got, session.run({"x": x}, ["y"])["y"].ravel(), atol=1e-5)


def test_auto_takes_the_best_that_runs(placeable: Path, tmp_path: Path) -> None:
    """In the build with OpenVINO `auto`, the default, is OpenVINO."""
    with serving(placeable, tmp_path / "log", environment=build("openvino")) as server:
        placed = placements(server.address)["conv"]
    assert (placed.requested, running(placed)) == ("auto", {OPENVINO: 3})


def test_a_config_that_is_sent_back_changes_nothing(placeable: Path, tmp_path: Path) -> None:
    """Who reads the completed configuration and loads the model with it keeps its provider."""
    explicit = ("--model-control-mode", "explicit", "--load-model", "*")
    with (
        serving(placeable, tmp_path / "log", *explicit, environment=build("openvino")) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        before = config_of(server.address, "conv")
        message = pb.RepositoryModelLoadRequest(model_name="conv")
        message.parameters["config"].string_param = json_format.MessageToJson(before)
        Stub(channel).RepositoryModelLoad(message)
        assert config_of(server.address, "conv") == before
        assert running(placements(server.address)["conv"]) == {OPENVINO: 3}
        assert "has no effect" not in server.log.read_text()


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("device_type=GPU.7", f"{OPENVINO} cannot run here: "),
        ("colour=red", f"{OPENVINO}: Invalid OpenVINO EP option: colour"),
        ("num_of_threads=many", f"{OPENVINO} cannot run here: "),
        ("num_streams=few", f"{OPENVINO} cannot run here: "),
        ("cache_dir=/proc/nowhere", f"onnxruntime cannot load model.onnx on {OPENVINO}: "),
    ],
)
def test_a_device_or_option_that_is_not_there_is_named(
    option: str, expected: str, placeable: Path
) -> None:
    """Neither a missing device nor an option that is wrong ends on the CPU in silence."""
    line = refused(
        placeable, "--provider", "openvino", "--provider-option", f"openvino.{option}",
        environment=build("openvino"),
    )  # fmt: skip
    assert f"failed to load 'conv': version 1: {expected}" in line


def test_an_unknown_option_is_refused_beside_a_fallback(placeable: Path) -> None:
    """That another provider is named after it excuses a missing device, no mistyped option."""
    line = refused(
        placeable, "--provider", "openvino,cpu", "--provider-option", "openvino.colour=red",
        environment=build("openvino"),
    )  # fmt: skip
    assert "Invalid OpenVINO EP option: colour" in line


BF16 = '{"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}'
BF16_CONFIG = """
max_batch_size: 4
parameters { key: "providers" value { string_value: "openvino" } }
parameters { key: "openvino.load_config" value { string_value: '%s' } }
"""


def test_openvino_computes_in_bf16_where_it_is_told_to(tmp_path: Path) -> None:
    """Its option reaches it as JSON, from either side: answers have 8 bits of precision, not 24.

    It needs AMX or AVX-512 for that, and keeps to f32 elsewhere, whatever it is told.
    """
    if not {"avx512_bf16", "amx_bf16"} & set(Path("/proc/cpuinfo").read_text().split()):
        pytest.skip("a processor without instructions for bf16, on which OpenVINO keeps to fp32")
    environment = build("openvino")
    models.write(tmp_path / "m", "conv", models.conv(), "max_batch_size: 4")
    models.write(tmp_path / "m", "bf16", models.conv(), BF16_CONFIG % BF16)
    x = np.linspace(0.1, 1, 3 * 64, dtype=np.float32).reshape(1, 3, 8, 8)
    chosen = ["--provider", "openvino"]
    with serving(tmp_path / "m", tmp_path / "log", *chosen, environment=environment) as server:
        fp32, by_config = (infer(server.address, name, x) for name in ("conv", "bf16"))
    chosen += ["--provider-option", f"openvino.load_config={BF16}"]
    with serving(tmp_path / "m", tmp_path / "log", *chosen, environment=environment) as server:
        by_option = infer(server.address, "conv", x)
    assert np.array_equal(by_config, by_option)
    assert not np.array_equal(fp32, by_option)
    assert np.allclose(fp32, by_option, rtol=2**-6)


X = np.linspace(-1, 1, 3 * 8 * 8, dtype=np.float32).reshape(1, 3, 8, 8)


def answer_of_openvino(placeable: Path, log: Path, *options: str) -> np.ndarray:
    """What `conv` answers with options of the provider, all of it on OpenVINO."""
    chosen = ["--provider", "openvino"]
    for option in options:
        chosen += ["--provider-option", f"openvino.{option}"]
    with serving(placeable, log, *chosen, environment=build("openvino")) as server:
        assert running(placements(server.address)["conv"]) == {OPENVINO: 3}
        return infer(server.address, "conv", X)


def test_openvino_answers_the_same_with_other_threads(placeable: Path, tmp_path: Path) -> None:
    """How many threads and streams it computes with changes nothing of what it computes.

    But for the order of a sum: by instructions and cores it takes other kernels for one thread.
    """
    plain = answer_of_openvino(placeable, tmp_path / "log")
    options = ("num_of_threads=1", "num_streams=2")
    other = answer_of_openvino(placeable, tmp_path / "log", *options)
    np.testing.assert_allclose(other, plain, rtol=0, atol=1e-6)


def test_openvino_keeps_what_it_compiled(tmp_path: Path) -> None:
    """One file in the folder; later loads answer right, be it damaged or of other weights.

    Equal but for the order of a sum, which differs by the processor's instructions.
    """
    for scale in (1, 2):
        models.write(tmp_path / f"x{scale}", "conv", models.conv(scale), "max_batch_size: 4")
    cache, log = tmp_path / "new" / "cache", tmp_path / "log"
    option = f"cache_dir={cache}"
    first = answer_of_openvino(tmp_path / "x1", log, option)
    (kept,) = cache.iterdir()
    assert kept.stat().st_size > 1000
    assert np.allclose(2 * first, answer_of_openvino(tmp_path / "x2", log, option))
    kept.chmod(0o600)
    kept.write_bytes(b"damaged")
    again = answer_of_openvino(tmp_path / "x1", log, option)
    np.testing.assert_allclose(again, first, rtol=0, atol=1e-6)
