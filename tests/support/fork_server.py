"""Forks servers off a process that has imported the server, so that they start without its imports.

A forked server has arguments, an environment, a working directory and standard streams of its own,
as one that was started; who needs a fresh interpreter starts the command itself. Only in one thing
they differ: a forked server keeps the plans that it measures on a busy machine, as tests side by
side make it. Otherwise each server would measure each of its models again.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path

LARGEST = 1 << 20  # bytes of one order


class Forked:
    """A server that was forked: what tests use of `subprocess.Popen`."""

    def __init__(self, pid: int, end: socket.socket) -> None:
        self.pid = pid
        self._end = end
        self._status: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; returns the exit code, or the negative number of the signal.

        Raises:
            TimeoutError: it runs on after so many seconds.
        """
        if self._status is None:
            self._end.settimeout(timeout)
            self._status = int(self._end.recv(16))
            self._end.close()
        return os.waitstatus_to_exitcode(self._status)

    def send_signal(self, number: int) -> None:
        """Send a signal, if it has not ended."""
        try:
            self.wait(0)
        except BlockingIOError:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def fork(words: Sequence[str], stdout: int, stderr: int) -> Forked:
    """Fork a server.

    Args:
        words: the command line.
        stdout: a file descriptor; the server has a copy.
        stderr: likewise.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        order = [list(words), dict(os.environ), os.getcwd()]  # noqa: PTH109 - for JSON
        descriptors = [stdout, stderr, theirs.fileno()]
        socket.send_fds(_forking(), [json.dumps(order).encode()], descriptors)
    return Forked(int(ours.recv(16)), ours)


@cache
def _forking() -> socket.socket:
    """The socket that takes orders; it is closed when this process ends, and then that one ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    command = [sys.executable, "-c", f"from {__name__} import main; main()", str(theirs.fileno())]
    with theirs:
        process = subprocess.Popen(
            command,
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
        )

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def main() -> None:
    """Fork a server for each order, and return in each server once it has ended."""
    from crossrun_server import cli
    from crossrun_server.plans import steady

    steady.DISTURBED = 1.0
    # What a server imports later: typer, where it is, when it reads a command line; and its front.
    for name in ("pydantic", "crossrun_server.fronts.native_front"):
        with suppress(ImportError):
            import_module(name)
    orders = socket.socket(fileno=int(sys.argv[1]))
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, LARGEST, 3)
        if not order:
            return
        if os.fork() == 0:
            break
        for descriptor in descriptors:
            os.close(descriptor)
        _reap()
    orders.close()
    _watch_or_return(descriptors)
    sys.argv, environment, folder = json.loads(order)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    cli.main()


def _reap() -> None:
    """Let the watchers of servers that have ended go."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _watch_or_return(descriptors: Sequence[int]) -> None:
    """Fork the server and return in it; here, say its pid, then its status once it ends."""
    stdout, stderr, end = descriptors
    pid = os.fork()
    if pid == 0:
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
    for descriptor in (stdout, stderr):
        os.close(descriptor)
    told = socket.socket(fileno=end)
    if pid == 0:
        told.close()
        return
    told.send(str(pid).encode())
    _, status = os.waitpid(pid, 0)
    told.send(str(status).encode())
    os._exit(0)
