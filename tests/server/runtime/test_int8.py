"""int8 on every processor: also on one that lacks the instructions for it."""

import platform
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.support import models

# Emulated where this machine is newer. Haswell has AVX2 and neither AVX-512 nor VNNI.
OLDER = ("qemu-x86_64", "-cpu", "Haswell")
SCRIPT = """
import sys
from pathlib import Path
import numpy as np
from crossrun_server.runtime import providers
from crossrun_server.runtime.session import Session
session = Session(Path(sys.argv[1]), providers.parse("cpu"))
y = session.run({"x": np.full((2, 64), 255, np.uint8)}, ["y"])["y"]
print(y.min(), y.max())
"""


@pytest.fixture
def older_processor() -> tuple[str, ...]:
    """What to put before a command so that it runs on an x86 processor without VNNI."""
    if platform.machine() != "x86_64":
        pytest.skip(f"no x86 processor but {platform.machine()}")
    if "vnni" not in Path("/proc/cpuinfo").read_text():
        return ()
    if not shutil.which(OLDER[0]):
        pytest.skip(f"no {OLDER[0]} to emulate a processor without VNNI; Debian's qemu-user has it")
    return OLDER


def test_int8_is_right_without_vnni(older_processor: tuple[str, ...], tmp_path: Path) -> None:
    """Products of uint8 and int8 do not overflow, which there they would by default."""
    onnx.save(models.largest_products(), tmp_path / "model.onnx")
    ended = subprocess.run(
        [*older_processor, sys.executable, "-c", SCRIPT, str(tmp_path / "model.onnx")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split() == [str(64 * 255 * 127)] * 2
