"""What several tests of the bench share."""

from pathlib import Path

import pytest

from crossrun_bench.measurements.tasks import Request
from tests.support import fakes


@pytest.fixture(scope="session")
def request_(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Request:
    """One picture for the model of colours, and the right answer."""
    return fakes.request(colours, tmp_path_factory.mktemp("load"))
