"""Forks the project's processes off ones that have imported what they need.

A forked process has arguments, an environment, a working directory and standard streams of its
own, as one that was started; who needs a fresh interpreter starts the command itself. Only in what
`haste` says they differ.

Servers are forked off a process without TensorFlow, which no server has; all else off one with it.
"""

import atexit
import gc
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from tests.support.forked import Forked
from tests.support.haste import ROOT, hasten

LARGEST = 1 << 20  # bytes of one order

LATE = ("typer._adapters", "pydantic.json_schema", "encodings.idna")  # imported at the first use
# What is imported before anything is forked; what is not installed is left out.
SERVER = (
    "crossrun_server.cli",
    "crossrun_server.fronts.native_front",
    "crossrun_server.rest.serving",
    *LATE,
)
OTHERS = (
    *LATE,
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
    # OpenVINO reports that it was imported, by a process that forked ones would take for their own.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    for name in imported:
        with suppress(ImportError):
            import_module(name)
    if imported is SERVER:
        hasten()
    gc.freeze()  # or a collection in a forked process would copy every page
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
