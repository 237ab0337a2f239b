"""One server for the tests of model control."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support.control import (
    connected,
    two_versions,
)
from tests.support.running import Server, serving

EXPLICIT = ("--model-control-mode", "explicit", "--allow-model-upload")


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the server keeps its repository, its temporary files and its log."""
    room = tmp_path_factory.mktemp("explicit")
    (room / "temporary").mkdir()
    (room / "secret").write_text("do not tell")
    for name in ("kept", "m"):
        two_versions(room / "models", name)
    return room


@pytest.fixture(scope="session")
def server(room: Path) -> Iterator[Server]:
    """A server in mode explicit that has loaded `kept`; each test brings models of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(room / "temporary"))
        with serving(room / "models", room / "log", "--load-model", "kept", *EXPLICIT) as running:
            yield running


@pytest.fixture(scope="session")
def stub(server: Server) -> Iterator[Stub]:
    with connected(server) as channel:
        yield Stub(channel)


@pytest.fixture
def root(room: Path) -> Path:
    """The repository of the server."""
    return room / "models"
