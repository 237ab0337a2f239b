"""How many cores there are for this process, and how long its threads wait for one."""

import subprocess
import sys
from pathlib import Path

import pytest

from crossrun_server import cores

# CPU seconds of a thread that shares its core with a process, over the seconds it waited.
TWO_ON_ONE_CORE = """
import os, subprocess, sys, time
from crossrun_server import cores
os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
before = cores.waited()
while time.thread_time() < 0.5:
    pass
print(time.thread_time() / (cores.waited() - before))
other.kill()
"""


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "max 100000", "cpu.max": "100000 100000"}, 1.0),
        ("3:cpu,cpuacct:/c\n", {"cpu/c/cpu.cfs_quota_us": "50000",
                                "cpu/c/cpu.cfs_period_us": "100000"}, 0.5),
        ("3:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("", {}, None),
    ],
)  # fmt: skip
def test_a_container_grants_so_many_cores(
    own: str, files: dict[str, str], expected: float | None, tmp_path: Path
) -> None:
    """Both versions of cgroups; the closest limit from the process's own group up to the root."""
    (tmp_path / "self").write_text(own)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert min(cores._quotas(tmp_path / "self", tmp_path), default=None) == expected


def test_a_thread_that_waits_for_a_core_knows_it() -> None:
    """On one core that another process keeps busy, for half of the time or more."""
    if not cores.WAITED.exists():
        pytest.skip("this system does not tell how long a thread waited")
    shown = subprocess.run(
        [sys.executable, "-c", TWO_ON_ONE_CORE], check=True, capture_output=True, text=True
    )
    assert float(shown.stdout) < 10
