"""What proto/check.sh finds: a change of the protos that breaks a client, or buf's lint."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.running import ROOT
from tests.support.workers import made_once

PROTO = ROOT / "proto"


def check(folder: Path = PROTO) -> subprocess.CompletedProcess[str]:
    return subprocess.run([PROTO / "check.sh", folder], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", autouse=True)
def buf(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The tool, which the first check installs."""
    if not (shutil.which("npm") or os.environ.get("CI")):
        pytest.skip("npm is not installed, which brings buf")

    def install(_: Path) -> None:
        done = check()
        assert done.returncode == 0, done.stdout + done.stderr

    made_once(pytestconfig, tmp_path_factory, "buf", install)


def changed(tmp_path: Path, was: str, becomes: str) -> subprocess.CompletedProcess[str]:
    """Check a copy of the protos with a change in vision.proto."""
    folder = tmp_path / "proto"
    shutil.copytree(PROTO, folder, ignore=shutil.ignore_patterns("golden", "*.py*"))
    vision = folder / "crossrun" / "v1" / "vision.proto"
    text = vision.read_text()
    assert was in text
    vision.write_text(text.replace(was, becomes))
    return check(folder)


@pytest.mark.parametrize(
    ("was", "becomes", "told"),
    [
        ("string label = 2;", "string name = 2;", 'changed name from "label" to "name"'),
        ("float score = 3;", "double score = 3;", "changed type"),
        ("uint32 top_k = 4;", "uint32 top_k = 9;", 'Previously present field "4"'),
        ("uint32 top_k = 4;", "uint32 topK = 4;", "should be lower_snake_case"),
    ],
)
def test_a_change_that_breaks_a_client_is_found(
    was: str, becomes: str, told: str, tmp_path: Path
) -> None:
    """Another name, type or number of a field, and a name that is against the style."""
    done = changed(tmp_path, was, becomes)
    assert done.returncode != 0
    assert told in done.stdout


def test_a_new_field_breaks_nobody(tmp_path: Path) -> None:
    """Clients that do not know it go on."""
    done = changed(tmp_path, "uint32 top_k = 4;", "uint32 top_k = 4;\n  bool new = 20;")
    assert done.returncode == 0, done.stdout
