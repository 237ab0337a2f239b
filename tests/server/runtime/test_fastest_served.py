"""Real servers that measure their providers: in three builds of onnxruntime, and as plugins."""

from pathlib import Path

import grpc
import numpy as np
import pytest

from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.v1 import providers_pb2
from crossrun_server.runtime import providers
from crossrun_server.runtime.session import Session
from tests.support import control, models, proofs
from tests.support.placed import CPU, OPENVINO, config_of, infer, placements, refused, running
from tests.support.running import BIN, Command, Server, build, run_command, serving
from tests.support.telemetry import samples

X = np.linspace(-1, 1, 3 * 8 * 8, dtype=np.float32).reshape(1, 3, 8, 8)
BF16 = 'openvino.load_config={"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}'
BOTH = {CPU, OPENVINO}


def check_told(server: Server, placed: providers_pb2.Placement, wanted: str) -> None:
    """One of two runs, and all that tells of providers tells that it was measured, and on what."""
    (chosen,) = running(placed)
    (other,) = BOTH - {chosen}
    assert placed.requested == wanted
    assert placed.skipped[other].startswith("one request took ")
    config = config_of(server.address, "conv")
    told = config.parameters["crossrun.fastest"].string_value
    assert told.startswith(f"one request on {chosen}, ")
    assert f"; {other}, " in told
    log = server.log.read_text()
    assert f"conv: {told}" in log
    assert f"loaded conv version 1 on {chosen} (3 nodes" in log
    assert samples(server, "crossrun_model_nodes", provider=chosen) == [3]
    assert samples(server, "crossrun_model_nodes", provider=other) == []


@pytest.fixture
def conv(tmp_path: Path) -> Path:
    models.write(tmp_path / "m", "conv", models.conv(), "max_batch_size: 4")
    return tmp_path / "m"


@pytest.mark.parametrize("wanted", ["fastest", "fastest:cpu,openvino"])
def test_the_build_with_openvino_measures_it(conv: Path, tmp_path: Path, wanted: str) -> None:
    """Beside the CPU; whoever is faster, the answers are right and the second start says the same.

    Unless something disturbed the first: then it may say something else.
    """
    environment, options = build("openvino"), ("--provider", wanted)
    with serving(conv, tmp_path / "log", *options, environment=environment) as server:
        first = placements(server.address)["conv"]
        check_told(server, first, wanted)
        got = infer(server.address, "conv", X)
        kept = "is used and not kept" not in server.log.read_text()
    session = Session(conv / "conv/1/model.onnx", providers.parse("cpu"))
    np.testing.assert_allclose(got, session.run({"x": X}, ["y"])["y"].ravel(), atol=1e-5)
    with serving(conv, tmp_path / "log", *options, environment=environment) as server:
        second = placements(server.address)["conv"]
        assert kept == ("conv, as measured earlier: " in server.log.read_text())
    if kept:
        assert (second.running, second.skipped) == (first.running, first.skipped)


@pytest.mark.usefixtures("on_intel")
def test_a_plugin_is_measured_beside_the_cpu(conv: Path, tmp_path: Path) -> None:
    """As one of the build."""
    with serving(conv, tmp_path / "log", "--provider", "fastest") as server:
        check_told(server, placements(server.address)["conv"], "fastest")


@pytest.mark.usefixtures("on_intel")
def test_a_plugin_that_is_told_to_compute_in_bf16_is_refused_by_the_proof(tmp_path: Path) -> None:
    """The CPU serves, and the reason has the difference."""
    proofs.repository(tmp_path / "m")
    options = ("--provider", "fastest:openvino,cpu", "--provider-option", BF16)
    with serving(tmp_path / "m", tmp_path / "log", *options) as server:
        placed = placements(server.address)["colours"]
        log = server.log.read_text()
    assert running(placed) == {CPU: 3}
    told = f"{OPENVINO} in bf16 as asked is off by 0.00"
    assert placed.skipped[OPENVINO].startswith(told)
    (warning,) = (line for line in log.splitlines() if f"colours: not {OPENVINO}: {told}" in line)
    assert warning.startswith("W")


def test_a_plugin_that_is_here_but_cannot_run_is_passed_over_or_named(
    conv: Path, tmp_path: Path
) -> None:
    """On a processor that OpenVINO's plugin does not support `fastest` is the CPU."""
    environment = build("plugin")
    with serving(
        conv, tmp_path / "log", "--provider", "fastest", environment=environment
    ) as server:
        placed = placements(server.address)["conv"]
    if running(placed) == {CPU: 3} and not placed.skipped:
        line = refused(conv, "--provider", "fastest:cpu,openvino", environment=environment)
        assert f"{OPENVINO} cannot run here: onnxruntime-ep-openvino" in line
    else:
        assert set(running(placed)) | set(placed.skipped) == BOTH


def test_what_is_named_and_not_here_stops_the_start(conv: Path) -> None:
    """In the words in which it would if it were asked for alone."""
    assert "this build of onnxruntime has no CUDAExecution" in refused(
        conv, "--provider", "fastest:cpu,cuda"
    )


def test_a_client_that_loads_a_model_may_ask_for_the_fastest(conv: Path, tmp_path: Path) -> None:
    """Another configuration of a model that serves; what was measured is told, and then is not."""
    explicit = ("--model-control-mode", "explicit", "--load-model", "*", "--provider", "cpu")
    wanted = {"name": "conv", "parameters": {"providers": {"string_value": "fastest:cpu"}}}
    with (
        serving(conv, tmp_path / "log", *explicit) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = Stub(channel)
        control.load(stub, "conv", wanted).result()
        placed, config = placements(server.address)["conv"], config_of(server.address, "conv")
        assert (placed.requested, running(placed)) == ("fastest:cpu", {CPU: 3})
        assert CPU in config.parameters["crossrun.fastest"].string_value
        control.load(stub, "conv").result()
        assert "crossrun.fastest" not in config_of(server.address, "conv").parameters


@pytest.mark.usefixtures("on_intel")
def test_the_command_shows_all_providers(
    conv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Provider, plan, speed and difference, the chosen one first."""
    monkeypatch.chdir(tmp_path)
    words = [str(BIN / "crossrun-serve"), "tune", str(conv), "--model", "conv"]
    words += ["--provider", "fastest"]
    shown = run_command(words)
    title, header, first, second, found = shown.stdout.splitlines()
    assert title.startswith("conv on ")
    assert header.split()[:3] == ["provider", "plan", "one"]
    assert {line.split()[0] for line in (first, second)} == {"cpu", "openvino"}
    assert found == f"fastest {first.split()[0]}"
    (plugin,) = (line for line in (first, second) if line.split()[0] == "openvino")
    assert plugin.endswith(" 0 from cpu")


def test_a_mistyped_provider_is_one_line(conv: Path, run: Command) -> None:
    """Of the server and of the command."""
    for words in ((conv, "--port", 0), ("tune", conv, "--model", "conv")):
        ended = run("crossrun-serve", *words, "--provider", "fastest:abacus")
        assert ended.returncode == 1
        assert ended.stderr.startswith("crossrun-serve: there is no execution provider 'abacus'")
        assert ended.stderr.count("\n") == 1
