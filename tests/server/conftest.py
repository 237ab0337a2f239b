"""What several tests of the server use."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import models
from tests.support.memory import FOLDER, Create
from tests.support.running import Server, serving


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
