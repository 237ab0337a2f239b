"""The kind of an instance group: told where nobody asked for one, and no choice when sent back."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format, text_format

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip import model_config_pb2 as config_pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.errors import LoadError
from crossrun_server.model_config import session_config
from crossrun_server.runtime import providers
from crossrun_server.runtime.assignment import Assignment
from tests.support.placed import CPU, CUDA, OPENVINO, config_of, placements, running
from tests.support.running import Server, serving

Change = Callable[[config_pb.ModelConfig], object]
EXPLICIT = ("--model-control-mode", "explicit", "--load-model", "*")
ON_CARD = Assignment("cuda", {CUDA: 2, CPU: 1}, {}, on_card=True)
ON_CPU = Assignment("cpu", {CPU: 3}, {})


def written(text: str, *assignments: Assignment) -> config_pb.ModelConfig:
    """A configuration as clients read it."""
    proto = text_format.Parse(f"name: 'm' {text}", config_pb.ModelConfig())
    session_config.write(proto, assignments, None)
    return proto


def kinds(proto: config_pb.ModelConfig) -> list[str]:
    return [config_pb.ModelInstanceGroup.Kind.Name(group.kind) for group in proto.instance_group]


def requested(proto: config_pb.ModelConfig) -> list[str]:
    return [str(one) for one in session_config.read(proto, providers.parse("openvino")).requests]


@pytest.mark.parametrize(
    ("text", "assignments", "told", "expected"),
    [
        ("", [ON_CPU], ["KIND_CPU"], ["openvino"]),
        ("", [ON_CARD], ["KIND_GPU"], ["openvino"]),
        ("instance_group { count: 2 }", [ON_CARD] * 2, ["KIND_GPU"], ["openvino"] * 2),
        ("instance_group { kind: KIND_CPU }", [ON_CPU], ["KIND_CPU"], ["cpu"]),
        ("instance_group { kind: KIND_MODEL }", [ON_CPU], ["KIND_MODEL"], ["openvino"]),
        (
            "instance_group { kind: KIND_GPU } instance_group { count: 2 } instance_group {}",
            [ON_CARD, ON_CPU, ON_CPU, ON_CARD],
            ["KIND_GPU", "KIND_CPU", "KIND_GPU"],
            ["cuda", "openvino", "openvino", "openvino"],
        ),
    ],
)  # fmt: skip
def test_a_kind_is_told_and_chooses_nothing(
    text: str, assignments: list[Assignment], told: list[str], expected: list[str]
) -> None:
    """Each group tells where its own sessions run; only kinds that were asked for ask again."""
    proto = written(text, *assignments)
    assert kinds(proto) == told
    assert requested(proto) == expected
    again = config_pb.ModelConfig()
    again.CopyFrom(proto)
    session_config.write(again, assignments, None)
    assert again == proto


def test_what_was_told_is_told_anew() -> None:
    """A configuration that comes back to another machine tells where it runs there."""
    proto = written("", ON_CPU)
    session_config.write(proto, [ON_CARD], None)
    assert kinds(proto) == ["KIND_GPU"]
    assert requested(proto) == ["openvino"]


def test_groups_keep_their_kinds_when_others_leave() -> None:
    """What was told is known by the group's name, whichever groups stand before it."""
    proto = written("instance_group { kind: KIND_CPU } instance_group {}", ON_CPU, ON_CPU)
    del proto.instance_group[0]
    assert requested(proto) == ["openvino"]


def test_a_note_that_is_none_of_ours_is_refused() -> None:
    """Whether a kind was asked for cannot be known then."""
    proto = written("", ON_CPU)
    proto.parameters["crossrun.kinds"].string_value = "KIND_CPU"
    with pytest.raises(LoadError, match=r"'crossrun.kinds' is 'KIND_CPU', expected what this"):
        requested(proto)


def load(server: Server, config: str) -> None:
    message = pb.RepositoryModelLoadRequest(model_name="conv")
    message.parameters["config"].string_param = config
    with grpc.insecure_channel(server.address) as channel:
        Stub(channel).RepositoryModelLoad(message)


@pytest.mark.usefixtures("on_intel")
def test_a_configuration_follows_the_server_that_it_is_sent_to(
    placeable: Path, tmp_path: Path
) -> None:
    """Read from one that runs on the CPU, it runs where another's --provider says."""
    with serving(placeable, tmp_path / "log", *EXPLICIT, "--provider", "cpu") as server:
        before = json_format.MessageToJson(config_of(server.address, "conv"), sort_keys=True)
        load(server, before)
        assert (
            json_format.MessageToJson(config_of(server.address, "conv"), sort_keys=True) == before
        )
        assert placements(server.address)["conv"].requested == "cpu"
        assert "has no effect" not in server.log.read_text()
    assert '"kind": "KIND_CPU"' in before
    with serving(placeable, tmp_path / "log", *EXPLICIT, "--provider", "openvino") as server:
        load(server, before)
        placed = placements(server.address)["conv"]
        assert (placed.requested, running(placed)) == ("openvino", {OPENVINO: 3})


@pytest.mark.usefixtures("on_intel")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda proto: setattr(proto.instance_group[0], "count", 2), "openvino"),
        (lambda proto: proto.parameters.pop("crossrun.kinds"), "cpu"),
    ],
)
def test_other_changes_choose_no_provider(
    change: Change, expected: str, placeable: Path, tmp_path: Path
) -> None:
    """A client may change what it likes; a kind without the note is a wish as in any config."""
    with serving(placeable, tmp_path / "log", *EXPLICIT, "--provider", "openvino") as server:
        proto = config_of(server.address, "conv")
        change(proto)
        load(server, json_format.MessageToJson(proto))
        assert placements(server.address)["conv"].requested == expected


def test_a_kind_that_was_changed_is_a_wish(placeable: Path, tmp_path: Path) -> None:
    """KIND_GPU in place of the KIND_CPU that was told asks for CUDA."""
    with serving(placeable, tmp_path / "log", *EXPLICIT, "--provider", "cpu") as server:
        proto = config_of(server.address, "conv")
        proto.instance_group[0].kind = config_pb.ModelInstanceGroup.KIND_GPU
        with pytest.raises(grpc.RpcError) as caught:
            load(server, json_format.MessageToJson(proto))
    assert CUDA in str(caught.value)
