"""A crossrun-serve child on a free port, while it is measured. Knows its command line alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crossrun_bench.errors import BenchError
from crossrun_bench.rounds import last_line
from crossrun_bench.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STOP_S = 10.0
_ANNOUNCED = "serving on "


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    address: str  # host:port
    pid: int
    startup_ns: int  # from the start of its process to its being ready


@contextmanager
def server_for(models: Path, targets: Sequence[str]) -> Iterator[Server | None]:
    """A server where one of `targets` needs it, else none."""
    if any(TARGETS[target].served for target in targets):
        with serving(models) as server:
            yield server
    else:
        yield None


@contextmanager
def serving(models: Path) -> Iterator[Server]:
    """Serve `models` until leaving; BenchError with its last words where it does not start."""
    command = [sibling("crossrun-serve", "cpu"), str(models), "--port", "0", "--no-metrics"]
    command += ["--provider", "cpu"]  # as in process, where the same file is measured
    begin = time.monotonic_ns()
    with (
        tempfile.TemporaryFile("w+", errors="replace") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if _ANNOUNCED not in line:
                raise BenchError(f"crossrun-serve did not start: {line.strip() or last_line(log)}")
            address = line.partition(_ANNOUNCED)[2].strip()
            yield Server(address, process.pid, time.monotonic_ns() - begin)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()


def sibling(command: str, extra: str) -> str:
    """Path of another of the project's commands: beside this Python, else on the PATH."""
    beside = Path(sys.executable).parent / command
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(command)
    if found is None:
        raise BenchError(f"{command} is not installed: pip install 'crossrun[{extra}]'")
    return found
