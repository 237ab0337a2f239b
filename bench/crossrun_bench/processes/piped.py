"""A child process that answers JSON lines, seen from its parent. Does not know what it does."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any

from crossrun_bench.errors import BenchError

_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}


@dataclass(frozen=True)
class Piped:
    """A child process and the two pipes to it."""

    name: str  # in errors
    process: subprocess.Popen[str]
    log: IO[str]
    started_ns: int  # monotonic clock

    def say(self, **command: object) -> None:
        """Send one command; `hear` returns the replies."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # `hear` tells why
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """The next reply.

        Raises:
            BenchError: the process failed or died; the error names it.
        """
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            status, words = self.process.wait(), last_line(self.log)
            raise BenchError(f"{self.name}: its process died with status {status}: {words}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise BenchError(f"{self.name}: {reply['error']}")
        return reply

    def ask(self, **command: object) -> dict[str, Any]:
        """Send one command and wait for its reply."""
        self.say(**command)
        return self.hear()


@contextmanager
def piped(module: str, name: str, python: str = sys.executable) -> Iterator[Piped]:
    """Run a module of this package, and kill it on leaving: it has nothing to save."""
    begin = time.monotonic_ns()
    with (
        tempfile.TemporaryFile("w+", errors="replace") as log,
        subprocess.Popen(
            [python, "-m", f"crossrun_bench.{module}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | _QUIET,
        ) as process,
    ):
        assert process.stdin is not None
        try:
            yield Piped(name, process, log, begin)
        finally:
            process.kill()
            with suppress(BrokenPipeError):  # a command was never read
                process.stdin.close()


def last_line(log: IO[str]) -> str:
    """The last line that is not empty; in a traceback that is the error."""
    log.seek(0)
    lines = [line.strip() for line in log if line.strip()]
    return lines[-1][:300] if lines else "no message"
