"""A server of the tiny models that speaks HTTP, with tight limits."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import detectors, models
from tests.support.running import HTTP, Server, serving

MEGABYTE = 1 << 20
TIGHT = ("--max-request-size", str(8 * MEGABYTE), "--max-bytes-in-flight", str(16 * MEGABYTE))


@pytest.fixture(scope="package")
def resting(tiny_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server; it has room for 40 connections."""
    log = tmp_path_factory.mktemp("rest") / "log"
    with serving(tiny_models, log, *HTTP, *TIGHT, "--max-connections", "40") as running:
        yield running


@pytest.fixture(scope="package")
def finding(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of one detector."""
    root = tmp_path_factory.mktemp("finder")
    config = detectors.FINDER + detectors.OPTIONS
    models.write(root, "finder", detectors.finder(), config, labels=detectors.LABELS)
    with serving(root, tmp_path_factory.mktemp("log") / "log", *HTTP) as running:
        yield running
