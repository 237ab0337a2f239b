"""Execution providers: what was asked for runs, or the model does not load and says why.

Each build of onnxruntime has an environment of its own: this one has the CPU's.
"""

import os
import subprocess
import sys
from pathlib import Path

import grpc
import onnxruntime
import pytest

from crossrun.v1 import providers_pb2
from crossrun.v1.providers_pb2_grpc import ProvidersStub
from crossrun_server.errors import LoadError
from crossrun_server.runtime import plugins, providers
from crossrun_server.runtime.session import Session
from tests.support import models
from tests.support.placed import CPU, CUDA, config_of, listing, placements, refused, running
from tests.support.running import BIN, serving

NO_CUDA = f"this build of onnxruntime has no {CUDA}"


PROVIDERS_CPU = "parameters { key: 'providers' value { string_value: 'cpu' } }"


# --- Without a GPU ---------------------------------------------------------------------------


def test_cuda_on_a_machine_without_it_is_one_clear_sentence(placeable: Path) -> None:
    """The server does not start, and says which extra brings the provider."""
    line = refused(placeable, "--provider", "cuda")
    assert line == (
        f"crossrun-serve: failed to load 'conv': version 1: {NO_CUDA} "
        f"(it has AzureExecutionProvider, {CPU}); install the extra [gpu] of crossrun-inference"
    )


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["abacus"], "there is no execution provider 'abacus'; known: auto, fastest, cpu, cuda"),
        (["cpu,cpu"], "'cpu,cpu' names an execution provider twice"),
        (["cpu", "--provider-option", "cuda.device_id=1"], "there are options for CUDA"),
        (["cpu", "--provider-option", "cpu.speed=9"], f"{CPU} takes no options, got speed"),
        (["cpu", "--provider-option", "speed"], "'speed' is not a provider option; expected PROV"),
        (["azure"], "AzureExecutionProvider computes none of the model's 3 nodes"),
        (["cuda,tensorrt"], NO_CUDA),
        (["migraphx"], "this build of onnxruntime has no MIGraphXExecutionProvider"),
    ],
)
def test_what_cannot_run_stops_the_start(
    options: list[str], expected: str, placeable: Path
) -> None:
    """A provider or option that is unknown, missing or idle is an error, never the CPU."""
    assert expected in refused(placeable, "--provider", *options)


def test_a_fallback_that_is_named_is_taken_and_told(placeable: Path, tmp_path: Path) -> None:
    """With `cuda,cpu` the CPU computes everything; why CUDA does not stands in log and RPC."""
    with serving(placeable, tmp_path / "log", "--provider", "cuda,cpu") as server:
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


def test_providers_are_listed_with_devices_or_reasons(placeable: Path, tmp_path: Path) -> None:
    """ListProviders tries each: the CPU has a device; what is not installed says so."""
    with (
        serving(placeable, tmp_path / "log") as server,
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
    assert f"{CUDA}           install the extra [gpu] of crossrun-inference" in rest


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
    assert [(one.lane, one.places) for one in placed] == [(0, 1), (1, 1)]
    assert placed[0].threads == placed[1].threads > 0
    assert [(g.name, g.count) for g in config.instance_group] == [("pair", 2)]


def test_the_lanes_of_a_plan_are_told_apart(tmp_path: Path) -> None:
    """Each says which it is, how many requests it runs at once, and with how many threads."""
    plan = 'max_batch_size: 4 parameters { key: "plan" value { string_value: "1x2,3x1" } }'
    models.write(tmp_path / "m", "conv", models.conv(), plan)
    with (
        serving(tmp_path / "m", tmp_path / "log") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        request = providers_pb2.ListPlacementsRequest()
        placed = ProvidersStub(channel).ListPlacements(request).placements
    assert [(one.lane, one.places, one.threads) for one in placed] == [(0, 1, 2), (1, 3, 1)]


# --- A GPU, where there is one ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_a_graphics_card_computes_what_it_was_asked_to(
    name: str, placeable: Path, tmp_path: Path
) -> None:
    """CUDA and TensorRT, where this environment's onnxruntime and machine have them."""
    wanted = providers.full_name(name)
    if wanted not in onnxruntime.get_available_providers():
        pytest.skip(f"this build of onnxruntime has no {wanted}")
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        pytest.skip("no graphics card in /dev/nvidia*")
    with serving(placeable, tmp_path / "log", "--provider", name) as server:
        placed = placements(server.address)["conv"]
    assert running(placed)[wanted] > 0


def test_a_missing_library_is_named_with_where_it_comes_from(
    placeable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What onnxruntime writes to stderr alone becomes the reason of the failed load."""

    def fail(*_: object) -> None:
        text = b"2026 [E:onnxruntime:Default, x.cc:1 f] /o/onnxruntime/core/x.cc:1 Get() FAIL : "
        os.write(2, text + b"error: libcublasLt.so.13: cannot open shared object file: No such\n")
        raise RuntimeError("Provider configuration is not supported.")

    monkeypatch.setattr(plugins, "built_in", lambda: (CUDA, CPU))
    monkeypatch.setattr(onnxruntime.SessionOptions, "add_provider", fail)
    brought = "which the extra [gpu] of crossrun-inference brings"
    told = f"the library libcublasLt.so.13 is missing, {brought}"
    with pytest.raises(LoadError) as caught:
        Session(placeable / "conv/1/model.onnx", providers.parse("cuda"))
    assert str(caught.value) == f"{CUDA} cannot run here: {told}"


# --- What onnxruntime says on stderr ---------------------------------------------------------


def test_what_others_write_meanwhile_is_not_lost() -> None:
    """Only onnxruntime's own lines are taken; the rest reaches stderr after the block."""
    script = (
        "import os\n"
        "from crossrun_server.runtime.ort_errors import captured\n"
        "with captured() as errors:\n"
        "    os.write(2, b'2026 [E:onnxruntime:Default, x.cc:1 f] no such device\\n')\n"
        "    os.write(2, b'somebody else\\n')\n"
        "print(errors)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "['no such device']\n"
    assert ended.stderr == "somebody else\n"
