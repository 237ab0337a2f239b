"""The README's five commands, run as they stand by somebody who has nothing installed."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.browser import browsing
from tests.support.running import ROOT
from tests.support.tracked import tracked

FIVE = re.compile(r"^<!-- five commands -->\n((?:    .+\n){5})\n", re.MULTILINE)
LOCK = ROOT / "requirements.lock"
OTHER = ROOT / "tests" / "environments" / "openvino.lock"  # has the build that the README takes
BUILD = re.compile(r"^onnxruntime-openvino==\S+", re.MULTILINE)


@pytest.fixture(scope="module", autouse=True)
def _browser() -> None:
    with browsing():
        pass


@pytest.fixture
def uv() -> str:
    found = shutil.which("uv") or shutil.which(ROOT / ".uv/bin/uv")
    if not found:
        pytest.skip("no uv on the PATH or in .uv: `make setup` brings it")
    return found


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files of the project, and nothing else."""
    files = tracked()
    if not files:
        pytest.skip("not a checkout: git tells which files there are")
    for file in files:
        copy = tmp_path / "checkout" / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy)
    return tmp_path / "checkout"


def environment(tmp_path: Path, uv: str) -> Path:
    """An environment of its own, whose pip takes what is locked out of uv's cache."""
    made = tmp_path / "environment"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, made], check=True)
    python = made / "bin" / "python3"
    python.unlink()  # a link to python, which stays
    build = BUILD.search(OTHER.read_text())
    assert build
    (tmp_path / "build.txt").write_text(build[0])
    limits = " ".join(
        f"--constraint {shlex.quote(str(one))}" for one in (LOCK, tmp_path / "build.txt")
    )
    python.write_text(
        "#!/bin/sh\n"
        f'[ "$1 $2 $3" = "-m pip install" ] || exec {made}/bin/python "$@"\n'
        f'shift 3\nexec {uv} pip install --quiet --python {made}/bin/python {limits} "$@"\n'
    )
    python.chmod(0o755)
    return made


def test_five_commands_lead_to_a_swapped_provider_and_to_boxes(
    checkout: Path, tmp_path: Path, uv: str
) -> None:
    """From pip install to OpenVINO with the same answers, and to a page that frames objects."""
    found = FIVE.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert found
    told = tmp_path / "told"
    visit = f"{sys.executable} -m tests.support.first_visit {told} %s"
    variables = os.environ | {
        "PATH": f"{environment(tmp_path, uv)}/bin:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),  # for the visitor
        "BROWSER": visit,
    }
    log = tmp_path / "log"
    with log.open("w") as written:
        running = subprocess.Popen(
            ["bash", "-e", "-c", found[1]],
            cwd=checkout,
            env=variables,
            stdout=written,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = running.wait(240)
        finally:
            os.killpg(running.pid, signal.SIGKILL)
    output = log.read_text()
    assert status == 0, output
    assert re.search(r"Runs on +\d+ nodes on cpu +\d+ nodes on openvino\b", output), output
    assert len(told.read_text().splitlines()) > 2, output
