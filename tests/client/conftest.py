"""A server that loads what it is asked for, and the command to ask it."""

import json
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support import models
from tests.support.control import connected
from tests.support.running import Command, Server, serving

Ask = Callable[..., CompletedProcess[str]]

EXPLICIT = ("--model-control-mode", "explicit", "--load-model", "kept", "--provider", "cpu")


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of the server; each test brings models of its own."""
    root = tmp_path_factory.mktemp("explicit")
    models.write(root, "kept", models.scale(1))
    return root


@pytest.fixture(scope="session")
def explicit(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in mode explicit."""
    with serving(root, tmp_path_factory.mktemp("log") / "log", *EXPLICIT) as running:
        yield running


@pytest.fixture
def stub(explicit: Server) -> Iterator[Stub]:
    with connected(explicit) as channel:
        yield Stub(channel)


@pytest.fixture
def ask(explicit: Server, run: Command, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """`crossrun`, which asks that server unless it is told of another."""
    monkeypatch.setenv("CROSSRUN_ADDRESS", explicit.address)
    return lambda *words: run("crossrun", *words)


@pytest.fixture
def answer(ask: Ask) -> Callable[..., Any]:
    """What it answers with --json."""

    def told(*words: object) -> Any:
        done = ask(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return told


@pytest.fixture(scope="session")
def nowhere() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


def heed_interrupts() -> None:
    """Heed Ctrl-C, in a child that is about to start: what runs in the background may not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
