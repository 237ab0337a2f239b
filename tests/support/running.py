"""The project's own commands, run as users run them: a real server, and the rest."""

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import pytest

from crossrun_server.models.version_loader import ServerContext
from crossrun_server.runtime import providers
from tests.support import fork_server
from tests.support.forked import Forked

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MATERIAL = ROOT.parent / "shared"
HTTP = ("--http-port", "0")
WITHOUT_HTTP = ("--no-allow-http",)
ON_CPU = ServerContext(providers.parse("cpu"))


Command = Callable[..., subprocess.CompletedProcess[str]]
Process = subprocess.Popen[str] | Forked


@dataclass(frozen=True)
class Server:
    """A running crossrun-serve."""

    address: str
    process: Process
    log: Path

    @property
    def metrics(self) -> str:
        """The URL of its metrics."""
        found = re.search(r"metrics on ([^\s\"]+)", self.log.read_text())
        assert found, "it serves no metrics"
        return found[1]

    @property
    def http(self) -> str:
        """The URL of its REST, such as http://127.0.0.1:40000; only with the options `HTTP`."""
        found = re.search(r"HTTP on ([^\s\"]+)", self.log.read_text())
        assert found, "it serves no HTTP"
        return found[1]

    def stop(self) -> int:
        """End it as an operator would; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


def interpreter_settings(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the environment tells Python itself."""
    return {name: value for name, value in environment.items() if name.startswith("PYTHON")}


AT_IMPORT = interpreter_settings()
FOR_SERVERS = [AT_IMPORT]  # of interpreters that are worth keeping to fork servers off


@contextmanager
def serving(
    repository: Path, log: Path, *options: str, environment: Path = BIN
) -> Iterator[Server]:
    """Run crossrun-serve on a port of its choice until the block ends."""
    command = [str(environment / "crossrun-serve"), str(repository), "--port", "0"]
    command += ["--metrics-port", "0", *(() if HTTP[0] in options else WITHOUT_HTTP), *options]
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdout, log.open("w") as stderr:
        with os.fdopen(writing, "w") as written:
            process = start(command, written, stderr)
        try:
            line = stdout.readline()
            found = re.fullmatch(r"crossrun: serving on (\S+)\n", line)
            assert found, f"the server said {line!r} and logged: {log.read_text()}"
            yield Server(found[1], process, log)
        finally:
            process.kill()
            process.wait()


def start(command: list[str], stdout: IO[str], stderr: IO[str]) -> Process:
    """Start a server."""
    if can_fork(command):
        return fork_server.fork(command, stdout.fileno(), stderr.fileno())
    return subprocess.Popen(command, stdout=stdout, stderr=stderr, text=True)


def run_command(
    command: list[str], environment: Mapping[str, str] = os.environ
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    if can_fork(command, environment):
        return fork_server.run(command, environment)
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def popen(
    words: list[str],
    *,
    stderr: IO[str],
    env: dict[str, str] | None = None,
    process_group: int | None = None,
    **pipes: Any,
) -> Process:
    """What the bench starts: forked if it is ours, else as `subprocess.Popen` starts it."""
    if can_fork(words):
        return fork_server.piped(words, stderr, environment=env, group=process_group == 0)
    return subprocess.Popen(words, stderr=stderr, env=env, process_group=process_group, **pipes)


def can_fork(words: list[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a command line is of ours, and a fresh interpreter would run it no otherwise."""
    command, _, module = (*words, "", "")[:3]
    beside, name = (
        Path(command).parent == BIN or Path(command).is_relative_to(ROOT),
        Path(command).name,
    )
    if beside and name == "crossrun-serve":
        return interpreter_settings(environment) in FOR_SERVERS
    ours = name.startswith("crossrun-") or module.startswith("crossrun_bench.")
    return beside and ours and interpreter_settings(environment) == AT_IMPORT


def build(name: str) -> Path:
    """The commands of an environment with another build of onnxruntime: `make test` makes it."""
    found = ROOT / f".venv-{name}" / "bin"
    if not (found / "crossrun-serve").exists():
        pytest.skip(f"no environment in {found.parent}; make .venv-{name}/ready makes it")
    return found


def run_here(words: list[str]) -> subprocess.CompletedProcess[str]:
    """crossrun, crossrun-bench or crossrun-export in this process."""
    name = Path(words[0]).name
    package = "crossrun_client" if name == "crossrun" else name.replace("-", "_")
    main = import_module(f"{package}.cli").main
    out, err, handler = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    status: object = 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", words)
        try:
            main()
        except SystemExit as ended:
            status = ended.code or 0
            if isinstance(status, str):  # what Python itself does with a text
                print(status, file=err)
                status = 1
        finally:
            signal.signal(signal.SIGTERM, handler)
    assert isinstance(status, int)
    return subprocess.CompletedProcess(words, status, out.getvalue(), err.getvalue())


def run_client(name: str, address: str, *arguments: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", f"tests.support.{name}", address, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=ROOT,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "all calls answered"
