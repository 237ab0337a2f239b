"""Execution providers: what was asked for runs, or the model does not load and says why.

Each build of onnxruntime has an environment of its own: this one (CPU), .venv-openvino
(OpenVINO compiled in) and .venv-plugin (OpenVINO as a package beside onnxruntime).
"""

import os
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import onnxruntime
import pytest
from google.protobuf import json_format

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip import model_config_pb2 as config_pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.v1 import providers_pb2
from crossrun.v1.providers_pb2_grpc import ProvidersStub
from crossrun_server import plugins, providers
from crossrun_server.errors import LoadError
from crossrun_server.providers import Provider, Request
from crossrun_server.session import Session
from tests import models
from tests.conftest import BIN, build, serving

CPU, CUDA, OPENVINO = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "OpenVINO"))
NO_CUDA = f"this build of onnxruntime has no {CUDA}"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`conv`, which every provider computes, and `determinant`, half of which is the CPU's."""
    root = tmp_path_factory.mktemp("providers")
    models.write(root, "conv", models.conv(), "max_batch_size: 4")
    models.write(root, "determinant", models.determinant(), "max_batch_size: 4")
    return root


PROVIDERS_CPU = "parameters { key: 'providers' value { string_value: 'cpu' } }"


def refused(repository: Path, *options: str, environment: Path = BIN) -> str:
    """Start a server that must not start; gives the last line it wrote."""
    ended = subprocess.run(
        [str(environment / "crossrun-serve"), str(repository), "--port", "0", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 1, ended.stdout
    assert ended.stdout == ""
    return ended.stderr.splitlines()[-1]


def placements(address: str, model: str = "") -> dict[str, providers_pb2.Placement]:
    with grpc.insecure_channel(address) as channel:
        request = providers_pb2.ListPlacementsRequest(model=model)
        found = ProvidersStub(channel).ListPlacements(request).placements
    return {placement.model: placement for placement in found}


def running(placed: providers_pb2.Placement) -> dict[str, int]:
    return {count.provider: count.nodes for count in placed.running}


def infer(address: str, model: str, x: np.ndarray) -> np.ndarray:
    message = pb.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype="FP32", shape=x.shape)
    message.raw_input_contents.append(x.tobytes())
    with grpc.insecure_channel(address) as channel:
        reply = Stub(channel).ModelInfer(message)
    return np.frombuffer(reply.raw_output_contents[0], np.float32)


def config_of(address: str, model: str) -> config_pb.ModelConfig:
    with grpc.insecure_channel(address) as channel:
        reply = Stub(channel).ModelConfig(pb.ModelConfigRequest(name=model))
    config: config_pb.ModelConfig = reply.config
    return config


# --- Without a GPU ---------------------------------------------------------------------------


def test_cuda_on_a_machine_without_it_is_one_clear_sentence(repository: Path) -> None:
    """The server does not start, and says which extra brings the provider."""
    line = refused(repository, "--provider", "cuda")
    assert line == (
        f"crossrun-serve: failed to load 'conv': version 1: {NO_CUDA} "
        f"(it has AzureExecutionProvider, {CPU}); install crossrun[gpu]"
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["abacus"], "there is no execution provider 'abacus'; known: auto, cpu, cuda"),
        (["cpu,cpu"], "'cpu,cpu' names an execution provider twice"),
        (["cpu", "--provider-option", "cuda.device_id=1"], "there are options for CUDA"),
        (["cpu", "--provider-option", "cpu.speed=9"], f"{CPU} takes no options, got speed"),
        (["cpu", "--provider-option", "speed"], "'speed' is no provider option; expected PROV"),
        (["azure"], "AzureExecutionProvider computes none of the model's 3 nodes"),
        (["cuda,tensorrt"], NO_CUDA),
        (["migraphx"], "this build of onnxruntime has no MIGraphXExecutionProvider"),
    ],
)
def test_what_cannot_run_stops_the_start(
    options: list[str], expected: str, repository: Path
) -> None:
    """A provider or option that is unknown, missing or idle is an error, never the CPU."""
    assert expected in refused(repository, "--provider", *options)


def test_a_fallback_that_is_named_is_taken_and_told(repository: Path, tmp_path: Path) -> None:
    """With `cuda,cpu` the CPU computes everything; why CUDA does not stands in log and RPC."""
    with serving(repository, tmp_path / "log", "--provider", "cuda,cpu") as server:
        placed = placements(server.address, "conv")["conv"]
        config = config_of(server.address, "conv")
        log = server.log.read_text()
    assert running(placed) == {CPU: 3}
    assert (placed.requested, placed.version) == ("cuda,cpu", "1")
    assert placed.skipped[CUDA].startswith(NO_CUDA)
    told = f"conv version 1 was asked to run on cuda,cpu: {NO_CUDA}"
    (warning,) = (line for line in log.splitlines() if told in line)
    assert warning.startswith("W")
    assert f"loaded conv version 1 on {CPU} (3 nodes)" in log
    assert config.parameters["crossrun.running"].string_value == f"{CPU} (3 nodes)"
    assert "CUDA" not in str(config)
    assert [(group.name, group.count) for group in config.instance_group] == [("conv_0", 1)]


def test_providers_are_listed_with_devices_or_reasons(repository: Path, tmp_path: Path) -> None:
    """ListProviders tries each: the CPU has a device; what is not installed says so."""
    with (
        serving(repository, tmp_path / "log") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        reply = ProvidersStub(channel).ListProviders(providers_pb2.ListProvidersRequest())
    found = {provider.name: provider for provider in reply.providers}
    assert found[CPU].available
    assert found[CPU].devices[0].startswith("CPU")
    assert (found[CPU].short_name, found[CPU].origin) == ("cpu", providers_pb2.ORIGIN_BUILD)
    assert not found[CUDA].available
    assert found[CUDA].reason.startswith(NO_CUDA)
    assert found[CUDA].origin == providers_pb2.ORIGIN_UNSPECIFIED


def test_the_command_lists_providers() -> None:
    """--list-providers needs no repository, and groups what runs apart from what does not."""
    text = listing(BIN)
    runs, _, rest = text.partition("Installed, cannot run:")
    assert CPU in runs
    assert "azure" in rest.partition("Not installed:")[0]
    assert f"{CUDA}           install crossrun[gpu]" in rest


def listing(environment: Path, **variables: str) -> str:
    return subprocess.run(
        [str(environment / "crossrun-serve"), "--list-providers"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | variables,
    ).stdout


def test_a_model_overrides_the_servers_provider(tmp_path: Path) -> None:
    """A model whose config names the CPU loads where the server's own choice could not run."""
    models.write(tmp_path / "m", "conv", models.conv(), PROVIDERS_CPU)
    with serving(tmp_path / "m", tmp_path / "log", "--provider", "cuda") as server:
        assert running(placements(server.address)["conv"]) == {CPU: 3}
        assert "has no effect" not in server.log.read_text()


def test_each_instance_has_a_session_of_its_own(tmp_path: Path) -> None:
    """`count` sessions run side by side, each placed by itself; the group is shown as given."""
    group = "instance_group { name: 'pair' count: 2 kind: KIND_CPU }"
    models.write(tmp_path / "m", "conv", models.conv(), group)
    with (
        serving(tmp_path / "m", tmp_path / "log") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        request = providers_pb2.ListPlacementsRequest(model="conv", version="1")
        placed = ProvidersStub(channel).ListPlacements(request).placements
        config = config_of(server.address, "conv")
    assert [running(one) for one in placed] == [{CPU: 3}, {CPU: 3}]
    assert [(g.name, g.count) for g in config.instance_group] == [("pair", 2)]


# --- OpenVINO compiled in --------------------------------------------------------------------


def test_openvino_computes_what_it_was_asked_to(repository: Path, tmp_path: Path) -> None:
    """All of one model, half of another; the answers are the CPU's."""
    x = np.linspace(-1, 1, 3 * 8 * 8, dtype=np.float32).reshape(1, 3, 8, 8)
    with serving(
        repository, tmp_path / "log", "--provider", "openvino", environment=build("openvino")
    ) as server:
        placed = placements(server.address)
        got = infer(server.address, "conv", x)
        log = server.log.read_text()
    assert running(placed["conv"]) == {OPENVINO: 3}
    assert running(placed["determinant"]) == {OPENVINO: 1, CPU: 1}
    assert f"loaded conv version 1 on {OPENVINO} (3 nodes)" in log
    session = Session(repository / "conv/1/model.onnx", providers.parse("cpu"))
    np.testing.assert_allclose(got, session.run({"x": x}, ["y"])["y"].ravel(), atol=1e-5)


def test_auto_takes_the_best_that_runs(repository: Path, tmp_path: Path) -> None:
    """In the build with OpenVINO `auto`, the default, is OpenVINO."""
    with serving(repository, tmp_path / "log", environment=build("openvino")) as server:
        placed = placements(server.address)["conv"]
    assert (placed.requested, running(placed)) == ("auto", {OPENVINO: 3})


def test_a_config_that_is_sent_back_changes_nothing(repository: Path, tmp_path: Path) -> None:
    """Who reads the completed configuration and loads the model with it keeps its provider."""
    explicit = ("--model-control-mode", "explicit", "--load-model", "*")
    with (
        serving(repository, tmp_path / "log", *explicit, environment=build("openvino")) as server,
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
    option: str, expected: str, repository: Path
) -> None:
    """Neither a missing device nor an option that is wrong ends on the CPU in silence."""
    line = refused(
        repository, "--provider", "openvino", "--provider-option", f"openvino.{option}",
        environment=build("openvino"),
    )  # fmt: skip
    assert f"failed to load 'conv': version 1: {expected}" in line


def test_an_unknown_option_is_refused_beside_a_fallback(repository: Path) -> None:
    """That another provider is named after it excuses a missing device, no mistyped option."""
    line = refused(
        repository, "--provider", "openvino,cpu", "--provider-option", "openvino.colour=red",
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
    """Its option reaches it as JSON, from either side: answers have 8 bits of precision, not 24."""
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


def answer_of_openvino(repository: Path, log: Path, *options: str) -> np.ndarray:
    """What `conv` answers with options of the provider, all of it on OpenVINO."""
    chosen = ["--provider", "openvino"]
    for option in options:
        chosen += ["--provider-option", f"openvino.{option}"]
    with serving(repository, log, *chosen, environment=build("openvino")) as server:
        assert running(placements(server.address)["conv"]) == {OPENVINO: 3}
        return infer(server.address, "conv", X)


def test_openvino_answers_the_same_with_other_threads(repository: Path, tmp_path: Path) -> None:
    """How many threads and streams it computes with changes nothing of what it computes."""
    plain = answer_of_openvino(repository, tmp_path / "log")
    options = ("num_of_threads=1", "num_streams=2")
    assert np.array_equal(plain, answer_of_openvino(repository, tmp_path / "log", *options))


def test_openvino_keeps_what_it_compiled(tmp_path: Path) -> None:
    """One file in the folder; later loads answer right, be it damaged or of other weights."""
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
    assert np.array_equal(first, answer_of_openvino(tmp_path / "x1", log, option))


# --- Plugins ---------------------------------------------------------------------------------


def test_a_plugin_is_found_and_runs_or_says_why(repository: Path, tmp_path: Path) -> None:
    """onnxruntime-ep-openvino beside plain onnxruntime: devices and nodes, or a reason."""
    environment = build("plugin")
    text = listing(environment)
    if OPENVINO in text.partition("Installed, cannot run:")[0]:
        options = ("--provider", "openvino")
        with serving(repository, tmp_path / "log", *options, environment=environment) as server:
            assert OPENVINO in running(placements(server.address)["conv"])
        return
    assert "plugin: onnxruntime-ep-openvino" in text
    line = refused(repository, "--provider", "openvino", environment=environment)
    assert f"{OPENVINO} cannot run here: onnxruntime-ep-openvino" in line
    assert line.endswith("is installed and found no device that it supports")


@pytest.fixture
def fake_plugin(tmp_path: Path) -> Path:
    """A package that calls itself a plugin and whose library is not there."""
    package = tmp_path / "site" / "onnxruntime_ep_fake"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "def get_library_path(): return '/nowhere/libfake.so'\n"
        "def get_ep_names(): return ['FakeExecutionProvider']\n"
    )
    info = tmp_path / "site" / "onnxruntime_ep_fake-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: onnxruntime-ep-fake\nVersion: 1.2\n"
    )
    return package.parent


@pytest.fixture
def cpu_as_a_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU provider, whose device onnxruntime lists as it lists those of plugins."""
    monkeypatch.setattr(plugins, "_registered", lambda: {CPU: ("onnxruntime-ep-cpu 1.0", "")})
    monkeypatch.setattr(onnxruntime, "get_available_providers", list)


@pytest.mark.usefixtures("cpu_as_a_plugin")
def test_a_plugins_device_is_chosen_by_its_type(repository: Path) -> None:
    """A session is made with the device asked for; one that there is not is named."""
    file = repository / "conv/1/model.onnx"
    for options in ({}, {"device_type": "cpu"}):
        wanted = Request((Provider(CPU, options),))
        assert Session(file, wanted).assignment.nodes == {CPU: 3}
    told = "onnxruntime-ep-cpu 1.0 has no device_type 'NPU' here; it has CPU"
    with pytest.raises(LoadError, match=told):
        Session(file, Request((Provider(CPU, {"device_type": "NPU"}),)))


def test_a_plugin_that_cannot_be_loaded_is_listed_with_the_reason(fake_plugin: Path) -> None:
    """A broken plugin is named with its version and what is wrong; the others are not harmed."""
    text = listing(BIN, PYTHONPATH=str(fake_plugin))
    assert "fake           FakeExecutionProvider           plugin: onnxruntime-ep-fake 1.2" in text
    assert "/nowhere/libfake.so: cannot open shared object file" in text
    assert CPU in text.partition("Installed, cannot run:")[0]


# --- A GPU, where there is one ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_a_graphics_card_computes_what_it_was_asked_to(
    name: str, repository: Path, tmp_path: Path
) -> None:
    """CUDA and TensorRT, where this environment's onnxruntime and machine have them."""
    wanted = providers.full_name(name)
    if wanted not in onnxruntime.get_available_providers():
        pytest.skip(f"this build of onnxruntime has no {wanted}")
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("no graphics card in /dev/nvidia*")
    with serving(repository, tmp_path / "log", "--provider", name) as server:
        placed = placements(server.address)["conv"]
    assert running(placed)[wanted] > 0


def test_a_missing_library_is_named_with_where_it_comes_from(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What onnxruntime writes to stderr alone becomes the reason of the failed load."""

    def fail(*_: object) -> None:
        text = b"2026 [E:onnxruntime:Default, x.cc:1 f] /o/onnxruntime/core/x.cc:1 Get() FAIL : "
        os.write(2, text + b"error: libcublasLt.so.13: cannot open shared object file: No such\n")
        raise RuntimeError("Provider configuration is not supported.")

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime.SessionOptions, "add_provider", fail)
    told = "the library libcublasLt.so.13 is missing, which crossrun[gpu] brings"
    with pytest.raises(LoadError) as caught:
        Session(repository / "conv/1/model.onnx", providers.parse("cuda"))
    assert str(caught.value) == f"{CUDA} cannot run here: {told}"


# --- What onnxruntime says on stderr ---------------------------------------------------------


def test_what_others_write_meanwhile_is_not_lost() -> None:
    """Only onnxruntime's own lines are taken; the rest reaches stderr after the block."""
    script = (
        "import os\n"
        "from crossrun_server.overheard import overheard\n"
        "with overheard() as errors:\n"
        "    os.write(2, b'2026 [E:onnxruntime:Default, x.cc:1 f] no such device\\n')\n"
        "    os.write(2, b'somebody else\\n')\n"
        "print(errors)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "['no such device']\n"
    assert ended.stderr == "somebody else\n"
