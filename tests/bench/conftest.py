"""What several tests of the bench share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from crossrun_bench.measurements.tasks import Request
from tests.support import fakes


@pytest.fixture(scope="session", autouse=True)
def _cores_stay() -> Iterator[None]:
    """No turn measures the cores anew: a fifth of a short one; test_core_to_core.py does it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("rounds", "load.turns", "throughput.measure", "throughput.served"):
            patch.setattr(f"crossrun_bench.measurements.{name}.core_to_core", lambda: 100)
        yield


@pytest.fixture(scope="session")
def request_(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Request:
    """One picture for the model of colours, and the right answer."""
    return fakes.request(colours, tmp_path_factory.mktemp("load"))
