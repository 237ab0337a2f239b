"""A server that other machines can reach, and that asks nobody who they are."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.access.callers import Scope
from crossrun_server.access.rules import RULES
from crossrun_server.fronts import sockets
from tests.support.access import bearer, call, entry, write
from tests.support.requests import gather, refusal
from tests.support.running import Server, serving

EVERYWHERE = ("--host", "0.0.0.0")
ALL = ("--shared-memory", "--model-control-mode", "explicit", "--load-model", "*")
CONTROL = [path for path, rule in RULES.items() if rule.scope == Scope.CONTROL]
DENIED = StatusCode.PERMISSION_DENIED


@pytest.fixture(scope="module")
def remote(front: str, three: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("remote") / "log"
    with serving(three, log, "--front", front, *EVERYWHERE, *ALL) as running:
        yield running


def test_the_log_warns_of_what_is_open(remote: Server) -> None:
    """One line names the host, what everybody may do, what not, and the option that asks them."""
    warned = [one for one in remote.log.read_text().splitlines() if one.startswith("W")]
    (line,) = [one for one in warned if "--host" in one]  # others may be about the machine
    assert line.endswith(
        "--host 0.0.0.0 can be reached from other machines, and without --auth-tokens nobody is "
        "asked who they are: open are health, metadata, inference, model-config, "
        "model-repository, statistics and the metrics; loads, shared memory, trace and log "
        "settings are refused"
    )


@pytest.mark.parametrize("path", CONTROL)
def test_nobody_controls_it(remote: Server, path: str) -> None:
    """Loads, shared memory, trace and log settings are refused, and the text names the options."""
    with grpc.insecure_channel(remote.address) as channel:
        code, text = refusal(channel.unary_unary(path), b"")
    assert code == DENIED
    assert text.startswith(f"{path.rpartition('/')[2]} is refused: ")
    assert text.endswith("--allow-remote-control allows it, --auth-tokens asks")


def test_everybody_may_infer_and_read(remote: Server) -> None:
    """Which the warning says."""
    with grpc.insecure_channel(remote.address) as channel:
        assert Stub(channel).ModelInfer(gather(1)).outputs
        assert Stub(channel).RepositoryIndex(pb.RepositoryIndexRequest()).models


LOG = "/inference.GRPCInferenceService/LogSettings"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_option_allows_it(three: Path, tmp_path: Path, workers: str) -> None:
    """And the warning tells of it."""
    options = (*EVERYWHERE, *ALL, "--allow-remote-control", "--workers", workers)
    with (
        serving(three, tmp_path / "log", *options) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        assert call(channel, LOG, b"") == StatusCode.OK
        Stub(channel).RepositoryModelLoad(pb.RepositoryModelLoadRequest(model_name="simple"))
        log = server.log.read_text()
    assert log.count("trace, logging and the metrics; loads, shared memory, ") == 1
    assert log.count("settings are allowed (--allow-remote-control)") == 1


def test_tokens_decide_where_there_are_some(three: Path, tmp_path: Path) -> None:
    """Nobody is warned of then, and who may control the server does so from anywhere."""
    tokens = write(tmp_path / "tokens", entry("control", "control"))
    with (
        serving(three, tmp_path / "log", *EVERYWHERE, "--auth-tokens", str(tokens)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        assert call(channel, LOG, b"", bearer("control")) == StatusCode.OK
        assert "can be reached" not in server.log.read_text()


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("127.0.0.1", True), ("127.8.8.8", True), ("[::1]", True), ("localhost", True),
        ("0.0.0.0", False), ("[::]", False), ("192.0.2.1", False), ("nobody.invalid", False),
    ],
)  # fmt: skip
def test_an_address_of_this_machine_is_known(host: str, here: bool) -> None:
    """What cannot be told is taken for an address that others reach."""
    assert sockets.only_here(host) == here
