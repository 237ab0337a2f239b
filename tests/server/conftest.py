"""What several tests of the server use."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import grpc
import hypothesis
import pytest

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support import models
from tests.support.memory import FOLDER, Create
from tests.support.running import Server, serving

# A machine that does something else as well finds no fewer errors, only later.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")


@pytest.fixture(scope="module", params=["native", "python"])
def front(request: pytest.FixtureRequest) -> str:
    """The name of a front end; the native one is skipped where it is not installed."""
    if request.param == "native":
        pytest.importorskip("crossrun_front", reason="the native front end is not installed")
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def served(
    front: str, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server of the tiny models with this front end."""
    log = tmp_path_factory.mktemp(front) / "log"
    with serving(tiny_models, log, "--front", front) as running:
        yield running


@pytest.fixture
def slow_server(tmp_path: Path) -> Iterator[Server]:
    """A server of its own, of a model that takes as long as it is told to."""
    models.write(tmp_path / "models", "slow", models.slow(), models.SLOW_CONFIG)
    with serving(tmp_path / "models", tmp_path / "log") as running:
        yield running


@pytest.fixture
def create() -> Iterator[Create]:
    """Create shared memory objects with the given contents; gives their keys."""
    made: list[Path] = []

    def create_object(content: bytes) -> str:
        path = FOLDER / f"crossrun_test_{secrets.token_hex(8)}"
        made.append(path)
        path.write_bytes(content)
        return f"/{path.name}"

    yield create_object
    for path in made:
        path.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def sharing(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose clients may use shared memory."""
    log = tmp_path_factory.mktemp("log") / "server.log"
    with serving(tiny_models, log, "--shared-memory") as running:
        yield running


@pytest.fixture
def shared(sharing: Server) -> Iterator[grpc.Channel]:
    """A channel to it; whatever was registered is forgotten at the end."""
    with grpc.insecure_channel(sharing.address) as channel:
        yield channel
        Stub(channel).SystemSharedMemoryUnregister(pb.SystemSharedMemoryUnregisterRequest())
