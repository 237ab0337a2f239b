"""Measured processes and their turns: start, ask, interleave. Knows no runtime and no server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Any

from crossrun_bench.errors import BenchError
from crossrun_bench.results import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crossrun_bench.runners import Task

# An idle target's threads spin for a moment before they sleep; nobody is measured meanwhile.
REST_S = 0.02
TURN_S = 0.1  # a turn of requests; where one request takes longer, a turn is one request
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow"}


@dataclass(frozen=True)
class Child:
    """A measured process of its own, and the two pipes to it."""

    task: Task
    process: subprocess.Popen[str]
    log: IO[str]
    started_ns: int  # monotonic clock

    def say(self, **command: object) -> None:
        """Send one command; `hear` gets its replies."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # `hear` tells why
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """The next reply; BenchError, naming the task, where the process failed or died."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            status, words = self.process.wait(), last_line(self.log)
            raise BenchError(f"{self.task}: its process died with status {status}: {words}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise BenchError(f"{self.task}: {reply['error']}")
        return reply

    def ask(self, **command: object) -> dict[str, Any]:
        """Send one command and wait for its reply."""
        self.say(**command)
        return self.hear()


@contextmanager
def started(task: Task) -> Iterator[Child]:
    """A process that loads the task's runner; killed on leaving, for it keeps nothing."""
    begin = time.monotonic_ns()
    with (
        tempfile.TemporaryFile("w+", errors="replace") as log,
        subprocess.Popen(
            [sys.executable, "-m", "crossrun_bench.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=os.environ | _QUIET,
        ) as process,
    ):
        assert process.stdin is not None
        child = Child(task, process, log, begin)
        try:
            child.say(**asdict(task))
            yield child
        finally:
            process.kill()
            with suppress(BrokenPipeError):  # of a command that was never read
                process.stdin.close()


def last_line(log: IO[str]) -> str:
    """The last line with something in it: of a traceback, the error."""
    log.seek(0)
    lines = [line.strip() for line in log if line.strip()]
    return lines[-1][:300] if lines else "no message"


@dataclass(frozen=True)
class Pace:
    """How many rounds at one batch size: `most`, or fewer once `seconds` are spent."""

    most: int
    least: int
    seconds: float

    @classmethod
    def of(cls, rounds: int | None) -> Pace:
        """Exactly `rounds`; where not asked for, 10 or what 9 s hold, but not under 5."""
        return cls(10, 5, 9.0) if rounds is None else cls(rounds, rounds, 0.0)


def interleaved(
    children: Sequence[Child], batch: int, pace: Pace, seconds: float
) -> Iterator[tuple[Child, Turn]]:
    """Turns of `seconds` at one batch size: round 0 warms all up, then A B C, A B C, …"""
    begin = time.monotonic()
    for number in range(pace.most + 1):
        if number > pace.least and time.monotonic() - begin > pace.seconds:
            return
        for child in children:
            time.sleep(REST_S)
            reply = child.ask(do="turn", batch=batch, seconds=seconds)
            ns = tuple(reply["ns"])
            warmup = reply["warmup"] if number else len(ns)
            yield child, Turn(batch, number, reply["started_ns"], warmup, ns)
