"""KServe's own clients, unchanged, in an environment that has nothing of ours."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.running import ROOT, Server

PYTHON = ROOT / ".venv-kserve" / "bin" / "python"
MISSING = f"no {PYTHON}; make environments makes it"


@pytest.fixture(scope="module")
def python() -> Path:
    """The interpreter that has KServe's clients."""
    if not PYTHON.exists():
        assert "CI" not in os.environ, MISSING
        pytest.skip(MISSING)
    return PYTHON


@pytest.mark.parametrize(
    ("protocol", "answered"),
    [
        ("v1", ["live", "model ready", "predict"]),
        ("v2", ["live", "ready", "model ready", "infer, JSON", "infer, binary"]),
        ("grpc", ["live", "ready", "model ready", "infer, typed", "infer, raw"]),
    ],
)
def test_kserves_clients_find_what_they_ask_for(
    python: Path, resting: Server, protocol: str, answered: list[str]
) -> None:
    """Over REST by both of KServe's protocols, and over gRPC: health, readiness, inference."""
    address = resting.address if protocol == "grpc" else resting.http
    script = ROOT / "tests" / "support" / "kserve_clients.py"  # -P: nothing beside it is imported
    ended = subprocess.run(
        [python, "-P", script, protocol, address],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == answered
