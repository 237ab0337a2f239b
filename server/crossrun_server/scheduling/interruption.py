"""Ends a run that nobody waits for any more.

A run is wrapped several times between the scheduler and what computes, so the two meet here, by
the thread that runs. Knows no onnxruntime, and of requests only whether they are gone.
"""

from collections.abc import Callable, Sequence
from threading import local
from time import monotonic
from typing import Protocol

from crossrun_server.errors import DeadlineExceeded

LATE = "the deadline passed before the answer was there"


class Waiting(Protocol):
    """Somebody who may wait for a run."""

    def gone(self, now: float) -> bool:
        """Whether nobody waits at this time of time.monotonic()."""


class Interruption:
    """A context manager around one run, which other threads may end.

    Args:
        batch: who waits for the run.
    """

    __slots__ = ("_batch", "_interrupt", "happened")

    def __init__(self, batch: Sequence[Waiting]) -> None:
        self._batch = batch
        self._interrupt: Callable[[], object] | None = None
        self.happened = False

    def __enter__(self) -> None:
        """Let `ended_by` find it.

        Raises:
            DeadlineExceeded: nobody waits any more.
        """
        self.look()
        if self.happened:
            raise DeadlineExceeded(LATE)
        _HERE.interruption = self

    def __exit__(self, *_: object) -> None:
        _HERE.interruption = None
        self._batch = ()  # the batch refers to this
        self._interrupt = None

    def look(self) -> None:
        """End the run if somebody waited for it and nobody does any more."""
        if not (batch := self._batch):
            return
        now = monotonic()
        for waiting in batch:  # `all` would cost half a microsecond more
            if not waiting.gone(now):
                return
        self._batch, self.happened = (), True
        if (interrupt := self._interrupt) is not None:
            interrupt()

    def follow(self, interrupt: Callable[[], object]) -> None:
        """Note what ends the run, and call it if the run is to end already."""
        self._interrupt = interrupt
        if self.happened:
            interrupt()


class _Here(local):
    """What may end the run on this thread."""

    interruption: Interruption | None = None


_HERE = _Here()


def ended_by(interrupt: Callable[[], object]) -> None:
    """Say what ends the run that begins on this thread; it is called on any thread, at most twice.

    Nothing ends a run that no request waits for, such as a warm-up.
    """
    if (interruption := _HERE.interruption) is not None:
        interruption.follow(interrupt)
