"""A server of several models that asks for tokens, with each front end."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.support import models
from tests.support.access import entry, write
from tests.support.running import Server, serving

ENTRIES = (
    'open = ["health"]\n',
    entry("infer", "infer"),
    entry("read", "read"),
    entry("control", "control"),
    entry("all", "infer", "read", "control"),
    entry("some", "infer", "read", "control", models=["gath*"]),
)


@pytest.fixture(scope="session")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`colours`, `gather`, `simple`."""
    root = tmp_path_factory.mktemp("three")
    models.write(root, "colours", models.colours(), models.COLOURS_CONFIG, labels=["r", "g", "b"])
    models.write(root, "gather", models.gather(), "max_batch_size: 8")
    models.write(root, "simple", models.sum_and_difference(), "max_batch_size: 8")
    return root


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of tokens."""
    return write(tmp_path_factory.mktemp("tokens") / "tokens.toml", *ENTRIES)


@pytest.fixture(scope="module")
def guarded(front: str, three: Path, tokens: Path) -> Iterator[Server]:
    """The server."""
    options = ["--front", front, "--auth-tokens", str(tokens), "--shared-memory"]
    options += ["--model-control-mode", "explicit", "--load-model", "*"]
    with serving(three, tokens.parent / "log", *options) as running:
        yield running


@pytest.fixture
def channel(guarded: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(guarded.address) as opened:
        yield opened
