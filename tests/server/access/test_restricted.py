"""Triton's restricted protocols: groups of RPCs that need a header."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.access import restrictions, rules
from crossrun_server.access.gate import AccessConfig, Gate
from crossrun_server.errors import ServingError, Unauthenticated
from tests.support.access import Metadata, bearer, call, entry, write
from tests.support.requests import gather, refusal
from tests.support.running import Command, serving

PREFIX = "triton-grpc-protocol-"
ADMIN = ((f"{PREFIX}admin-key", "admin-value"),)
INFER = ((f"{PREFIX}infer-key", "infer-value"),)
UNAUTHENTICATED = StatusCode.UNAUTHENTICATED


@pytest.fixture(scope="module")
def restricted(
    front: str, three: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[grpc.Channel]:
    """A server whose inference needs a header, and whose control needs another."""
    log = tmp_path_factory.mktemp("log") / "log"
    option = "--grpc-restricted-protocol"
    options = ["--front", front, option, "inference,health:Infer-Key=infer-value"]
    options += [option, "model-repository,logging:admin-key=admin-value"]
    with (
        serving(three, log, *options) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield channel


def test_a_restricted_protocol_needs_its_header(restricted: grpc.Channel) -> None:
    """With its value; the text is Triton's. What is not restricted needs none."""
    stub, health = Stub(restricted), health_pb2_grpc.HealthStub(restricted)
    expected = f"This protocol is restricted, expecting header '{PREFIX}infer-key'"
    wrong = ((f"{PREFIX}infer-key", "other"),)
    plain = (("infer-key", "infer-value"),)
    for metadata in ((), ADMIN, wrong, plain, INFER * 2):
        code, text = refusal(stub.ModelInfer, gather(1), metadata=metadata)
        assert code == UNAUTHENTICATED
        assert metadata == INFER * 2 or text == expected
    assert stub.ModelInfer(gather(1), metadata=INFER).outputs
    asked = health_pb2.HealthCheckRequest()
    assert refusal(health.Check, asked)[0] == UNAUTHENTICATED  # type: ignore[attr-defined]
    assert health.Check(asked, metadata=INFER).status == 1  # type: ignore[attr-defined]
    assert stub.ModelMetadata(pb.ModelMetadataRequest(name="gather")).inputs
    assert refusal(stub.RepositoryIndex, pb.RepositoryIndexRequest())[0] == UNAUTHENTICATED
    assert stub.RepositoryIndex(pb.RepositoryIndexRequest(), metadata=ADMIN).models


def test_streams_are_restricted_as_well(restricted: grpc.Channel) -> None:
    """ModelStreamInfer is inference."""
    stub = Stub(restricted)
    assert refusal(list, stub.ModelStreamInfer(iter([gather(1)])))[0] == UNAUTHENTICATED
    assert len(list(stub.ModelStreamInfer(iter([gather(1)]), metadata=INFER))) == 1


class Sent:
    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    def invocation_metadata(self) -> Metadata:
        return self._metadata

    def auth_context(self) -> dict[str, list[bytes]]:
        return {}


@pytest.mark.parametrize("path", rules.RULES)
def test_every_rpc_belongs_to_a_protocol(path: str) -> None:
    """So that there is none that cannot be restricted."""
    protocol = rules.RULES[path].protocol
    config = AccessConfig(restricted=(f"{protocol}:a=b",))
    enter = Gate(config, remote=True).entrance(path)
    with pytest.raises(Unauthenticated):
        enter(Sent(()))
    enter(Sent(((f"{PREFIX}a", "b"),)))  # who has the header is not just anybody


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("", "expected PROTOCOL,…:KEY=VALUE"),
        ("health", "expected PROTOCOL,…:KEY=VALUE"),
        ("health:key", "expected PROTOCOL,…:KEY=VALUE"),
        ("health:key=", "expected PROTOCOL,…:KEY=VALUE"),
        ("health:a key=value", "expected PROTOCOL,…:KEY=VALUE"),
        ("model-reposit:k=v", "unknown restricted protocol 'model-reposit', expected health, "),
        ("health,health:k=v", "'health' can not be specified in multiple config groups"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(option: str, expected: str) -> None:
    """In one line, with Triton's words where it has some."""
    with pytest.raises(ServingError) as caught:
        restrictions.parse([option])
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_may_hold_any_sign() -> None:
    """Only the first colon and the first equals sign divide."""
    found = restrictions.parse(["health:k=a=b:c"])
    assert found == {"health": (f"{PREFIX}k", "a=b:c")}


def test_the_start_refuses_it(three: Path, run: Command) -> None:
    """A protocol in two groups keeps the server from starting."""
    option = "--grpc-restricted-protocol"
    ended = run("crossrun-serve", three, option, "health:k1=v1", option, "metadata,health:k2=v2")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.endswith("protocol 'health' can not be specified in multiple config groups")


def test_tokens_and_restrictions_both_hold(three: Path, tmp_path: Path) -> None:
    """A call needs what both ask for."""
    options = ["--auth-tokens", str(write(tmp_path / "tokens", entry("infer", "infer")))]
    options += ["--grpc-restricted-protocol", "inference:infer-key=infer-value"]
    path = "/inference.GRPCInferenceService/ModelInfer"
    with (
        serving(three, tmp_path / "log", *options) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        for metadata in ((), INFER, bearer("infer")):
            assert call(channel, path, gather(1), metadata) == UNAUTHENTICATED
        assert call(channel, path, gather(1), INFER + bearer("infer")) == StatusCode.OK
