"""A process that was forked by another, as its user sees it."""

import os
import signal
import socket
import subprocess
from contextlib import suppress
from types import TracebackType
from typing import IO, Self


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
            with suppress(ProcessLookupError):  # it ends just now
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)
