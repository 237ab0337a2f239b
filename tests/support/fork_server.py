"""Forks the project's processes off ones that have imported what they need.

A forked process has arguments, an environment, a working directory and standard streams of its
own, as one that was started; who needs a fresh interpreter starts the command itself. Only in what
HASTE says they differ.

Servers are forked off a process without TensorFlow, which no server has; all else off one with it.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

LARGEST = 1 << 20  # bytes of one order

# What is imported before anything is forked; what is not installed is left out.
SERVER = ("crossrun_server.cli", "pydantic", "crossrun_server.fronts.native_front")
OTHERS = (
    "crossrun_export.pipeline",
    "crossrun_export.detector.pipeline",
    "crossrun_bench.cli",
    *(f"crossrun_bench.targets.{name}" for name in ("child", "convert", "sessions")),
    *(
        f"crossrun_bench.targets.runners.{name}_"
        for name in ("tensorflow", "onnxruntime", "openvino", "litert", "oip", "shared_memory")
    ),
    *(
        f"crossrun_bench.measurements.{name}"
        for name in (
            "load.generator.process",
            "load.generator.inprocess",
            "loadgen.process",
            "throughput.process",
        )
    ),
)

ROOT = Path(__file__).parents[2]
# A worker is no fork, for the supervisor starts it.
WORKER = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from {__name__} import hasten; hasten(); "
    "from crossrun_server.workers.worker import main; main()"
)
# What a server looks at less often, or measures longer, than tests have time for.
HASTE = {
    "plans.steady.DISTURBED": 1.0,  # keep a plan that was measured beside other tests
    "plans.core_distance.nanoseconds": lambda: None,  # or while a host moved the cores
    "plans.search.SECONDS": 0.03,
    "plans.spinning.SECONDS": 0.1,
    "plans.race.SECONDS": 0.2,
    "fronts.certificates.INTERVAL": 0.1,
    "access.tokens.LOOK": 0.1,
    "workers.supervisor.COMMAND": (sys.executable, "-P", "-c", WORKER),
}


class Forked:
    """A process that was forked: what is used of `subprocess.Popen`."""

    def __init__(self, pid: int, end: socket.socket) -> None:
        self.pid = pid
        self.stdin: IO[str] | None = None
        self.stdout: IO[str] | None = None
        self._end = end
        self._status: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for stream in (self.stdin, self.stdout):
            if stream:
                stream.close()
        self.wait()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; returns the exit code, or the negative number of the signal.

        Raises:
            TimeoutExpired: it runs on after so many seconds.
        """
        if self._status is None:
            self._end.settimeout(timeout)
            try:
                self._status = int(self._end.recv(16))
            except (BlockingIOError, TimeoutError) as error:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0) from error
            self._end.close()
        return os.waitstatus_to_exitcode(self._status)

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        try:
            self.wait(0)
        except subprocess.TimeoutExpired:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def fork(
    words: Sequence[str],
    stdout: int,
    stderr: int,
    *,
    environment: Mapping[str, str] | None = None,
) -> Forked:
    """Fork one of the project's processes.

    Args:
        words: the command line: a command of ours, or Python's with `-m` and a module of ours.
        stdout: a file descriptor; the process has a copy.
        stderr: likewise.
        environment: instead of this process's.
    """
    nowhere = os.open(os.devnull, os.O_RDONLY)
    try:
        return _forked(words, (nowhere, stdout, stderr), environment)
    finally:
        os.close(nowhere)


def run(
    words: Sequence[str], environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Fork one of the project's processes and wait for its end."""
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        process = fork(words, out.fileno(), err.fileno(), environment=environment)
        status = process.wait()
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(words, status, out.read(), err.read())


def piped(
    words: Sequence[str],
    stderr: IO[str],
    *,
    environment: Mapping[str, str] | None = None,
    group: bool = False,
) -> Forked:
    """Fork one of the project's processes, with pipes to it and from it.

    Args:
        words: as in `fork`.
        stderr: a file.
        environment: instead of this process's.
        group: whether it gets a process group of its own.
    """
    (its_stdin, to_it), (from_it, its_stdout) = os.pipe(), os.pipe()
    try:
        streams = (its_stdin, its_stdout, stderr.fileno())
        process = _forked(words, streams, environment, group=group)
    finally:
        os.close(its_stdin)
        os.close(its_stdout)
    process.stdin, process.stdout = os.fdopen(to_it, "w"), os.fdopen(from_it)
    return process


def _forked(
    words: Sequence[str],
    streams: tuple[int, int, int],
    environment: Mapping[str, str] | None,
    *,
    group: bool = False,
) -> Forked:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = Path(words[0])
    with theirs:
        folder = os.getcwd()  # noqa: PTH109 - for JSON
        order = [list(words), dict(environment or os.environ), folder, group]
        descriptors = [*streams, theirs.fileno()]
        imported = "SERVER" if command.name == "crossrun-serve" else "OTHERS"
        packages = os.environ.get("PYTHONPATH", "")
        forking = _forking(command.with_name("python"), packages, imported)
        socket.send_fds(forking, [json.dumps(order).encode()], descriptors)
    return Forked(int(ours.recv(16)), ours)


@cache
def _forking(python: Path, packages: str, imported: str) -> socket.socket:
    """The socket of an interpreter that takes orders, with these packages on its PYTHONPATH.

    It is closed when this process ends, and then that one ends.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = f"from {__name__} import main, {imported}; main({imported})"
    with theirs:
        process = subprocess.Popen(
            [python, "-c", code, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": packages},
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def main(imported: Sequence[str]) -> None:
    """Fork a process for each order, and return in each of them once it has ended."""
    for name in imported:
        with suppress(ImportError):
            import_module(name)
    if imported is SERVER:
        hasten()
    orders = socket.socket(fileno=int(sys.argv[1]))
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, LARGEST, 4)
        if not order:
            return
        if os.fork() == 0:
            break
        for descriptor in descriptors:
            os.close(descriptor)
        _reap()
    orders.close()
    _watch_or_return(descriptors)
    words, environment, folder, group = json.loads(order)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if group:
        os.setpgid(0, 0)
    _run(words)


def hasten() -> None:
    """Let the server of this process be as HASTE says."""
    for path, value in HASTE.items():
        module, _, name = path.rpartition(".")
        setattr(import_module(f"crossrun_server.{module}"), name, value)


def _run(words: list[str]) -> None:
    """Run what a command line would: a command, or a module."""
    home, keras = os.environ.get("KERAS_HOME"), sys.modules.get("keras.src.backend.config")
    if home and keras:
        vars(keras)["_KERAS_DIR"] = home  # it reads the variable only when it is imported
    if words[1] == "-m":
        sys.argv = words[2:]
        sys.exit(import_module(words[2]).main())
    sys.argv = words
    package = Path(words[0]).name.replace("-", "_").replace("_serve", "_server")
    import_module(f"{package}.cli").main()


def _reap() -> None:
    """Let the watchers of processes that have ended go."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _watch_or_return(descriptors: Sequence[int]) -> None:
    """Fork the process and return in it; here, say its pid, then its status once it ends."""
    *streams, end = descriptors
    pid = os.fork()
    if pid == 0:
        for place, stream in enumerate(streams):
            os.dup2(stream, place)
    for stream in streams:
        os.close(stream)
    told = socket.socket(fileno=end)
    if pid == 0:
        told.close()
        return
    told.send(str(pid).encode())
    _, status = os.waitpid(pid, 0)
    told.send(str(status).encode())
    os._exit(0)
