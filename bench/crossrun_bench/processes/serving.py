"""A server as a child process while it is measured. Knows only crossrun-serve's command line."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from crossrun_bench import distribution
from crossrun_bench.errors import BenchError
from crossrun_bench.processes.piped import last_line
from crossrun_bench.providers import CPU, Provider

START_S, STOP_S = 120.0, 10.0
WITH_HTTP = ("--allow-http", "--http-port", "0")  # beside what `serve_command` says
_ANNOUNCED = "serving on "
_HTTP = re.compile(r"HTTP on ([^\s\"]+)")  # in the log, before the line above


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    address: str  # host:port
    pid: int
    startup_ns: int  # from the start of its process until it was ready
    http: str = ""  # URL of its REST, if it has any


@contextmanager
def serving(
    models: Path,
    name: str,
    provider: Provider = CPU,
    python: str = sys.executable,
    options: Sequence[str] = (),
) -> Iterator[Server]:
    """Serve one model until leaving.

    Raises:
        BenchError: it does not start; the error holds its last words.
    """
    command = [*serve_command(models, name, provider, python), *options]
    with running("crossrun-serve", command) as server:
        yield server


def serve_command(
    models: Path, name: str, provider: Provider = CPU, python: str = sys.executable
) -> list[str]:
    """The command of our server with its defaults and one model, on one provider."""
    command = [sibling("crossrun-serve", "cpu", python), str(models)]
    command += ["--model-control-mode", "explicit", "--load-model", name]
    command += ["--port", "0", "--no-metrics", "--no-allow-http", "--provider", provider.name]
    for key, value in provider.options.items():
        command += ["--provider-option", f"{provider.name}.{key}={value}"]
    return command


@contextmanager
def running(name: str, command: Sequence[str], patience: float = START_S) -> Iterator[Server]:
    """Run a server until leaving, once it has printed `serving on ADDRESS`.

    Raises:
        BenchError: it did not print this within `patience` seconds.
    """
    begin = time.monotonic_ns()
    with (
        tempfile.TemporaryFile("w+", errors="replace") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, text=True, process_group=0
        ) as process,
    ):
        try:
            address = _address(process, name, log, patience)
            startup = time.monotonic_ns() - begin
            yield Server(address, process.pid, startup, _http(log))
        finally:
            _stop(process)


def _address(process: subprocess.Popen[str], name: str, log: IO[str], patience: float) -> str:
    assert process.stdout is not None
    late = threading.Timer(patience, process.kill)
    late.start()
    said = ""
    for line in process.stdout:
        if _ANNOUNCED in line:
            late.cancel()
            threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
            return line.partition(_ANNOUNCED)[2].strip()
        said = line.strip() or said
    late.cancel()
    raise BenchError(f"{name} did not start: {said or last_line(log)}")


def _http(log: IO[str]) -> str:
    """Where the server says that it speaks HTTP; read without moving where it writes."""
    written = os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0)
    found = _HTTP.search(written.decode(errors="replace"))
    return found[1] if found else ""


def _drain(output: IO[str]) -> None:
    """Read whatever else the server prints, so that it never fills the pipe."""
    with suppress(OSError, ValueError):  # closed meanwhile
        while output.read(4096):
            pass


def _stop(process: subprocess.Popen[str]) -> None:
    """Ask the server to end, then kill whatever is left of its process group."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def sibling(command: str, extra: str, python: str = sys.executable) -> str:
    """The path of another of the project's commands: beside a Python, else on the PATH.

    Raises:
        BenchError: there is no such command.
    """
    beside = Path(python).parent / command
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(command)
    if found is None:
        raise BenchError(distribution.missing(command, extra))
    return found
