"""Measured processes and their turns: start, ask, interleave. Knows no runtime and no server."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from crossrun_bench.machine.core_to_core import core_to_core
from crossrun_bench.measurements.turns import Turn
from crossrun_bench.processes import shared_memory
from crossrun_bench.processes.piped import Piped, piped
from crossrun_bench.targets.task import Task

# An idle target's threads spin for a moment before they sleep; nobody is measured meanwhile.
REST_S = 0.02
TURN_S = 0.1  # a turn of requests; where one request takes longer, a turn is one request


@dataclass(frozen=True)
class Child(Piped):
    """The process that measures one task."""

    task: Task


@contextmanager
def started(task: Task) -> Iterator[Child]:
    """A process that loads the task's runner; killed on leaving, for it keeps nothing."""
    with piped("targets.child", str(task), task.python) as pipe:
        child = Child(**vars(pipe), task=task)
        child.say(**asdict(task))
        try:
            yield child
        finally:
            child.process.kill()
            child.process.wait()
            shared_memory.remove(child.process.pid)


@dataclass(frozen=True)
class Pace:
    """How many rounds at one batch size: `most`, or fewer once `seconds` are spent."""

    most: int
    least: int
    seconds: float

    @classmethod
    def of(cls, rounds: int | None) -> "Pace":
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
            apart = core_to_core()
            time.sleep(REST_S)
            reply = child.ask(do="turn", batch=batch, seconds=seconds)
            ns = tuple(reply["ns"])
            warmup = reply["warmup"] if number else len(ns)
            yield child, Turn(batch, number, reply["started_ns"], warmup, ns, apart)
