"""Gives memory back to the system once a server is idle.

onnxruntime and glibc keep what the largest batch took, for the next one. Knows runs by their rows
and by when they ended, and what to run from `probe`.
"""

import asyncio
import ctypes
import gc
import mmap
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from time import monotonic

from crossrun_server.models.upkeep.probe import Probe
from crossrun_server.scheduling.batching import Execution

IDLE = 2.0  # seconds without a run
LOOK = 1.0  # seconds between two looks
SLACK = 8 << 20  # bytes that are not worth the search for free memory
RESIDENT = Path("/proc/self/statm")
LARGE = 1 << 20  # bytes of a block
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
MMAP_SETTING = "MALLOC_MMAP_THRESHOLD_"  # of the environment; who sets it knows better


class IdleMemory:
    """What one model's sessions have taken beyond what a single row needs.

    Args:
        probe: how they give it back; None if nothing is known that the model answers.
        any_size: whether a single row may be of any size.
    """

    def __init__(self, probe: Probe | None, *, any_size: bool) -> None:
        self.last = 0.0  # when a run ended, on the monotonic clock
        self.grown = False
        self._probe = probe
        self._any_size = any_size

    def executed(self, execution: Execution) -> None:
        """Hear of a run, on its thread."""
        self.last = monotonic()
        if execution.rows > 1 or self._any_size:
            self.grown = True

    def give_back(self) -> None:
        """Let the sessions keep what a single row needs, and release the rest."""
        if self.grown and self._probe:
            with suppress(Exception):  # `failing` looks after a model that fails
                self._probe.shrink()
        self.grown = False


async def give_back_when_idle(memories: Callable[[], Iterable[IdleMemory]]) -> None:
    """Release what nobody needs, whenever no model has run for a moment; until cancelled.

    Args:
        memories: those of the models that are loaded now.
    """
    _map_large_blocks()
    gc.collect()
    gc.freeze()  # full collections come sooner, since they count only what is made from now on
    kept = _resident()
    while True:
        await asyncio.sleep(LOOK)
        kept = await _look(memories, kept)


async def _look(memories: Callable[[], Iterable[IdleMemory]], kept: int) -> int:
    """Release what nobody needs, if there is any; returns the bytes that are resident then."""
    last = max((memory.last for memory in memories()), default=0.0)
    grown = [memory for memory in memories() if memory.grown]
    if monotonic() - last < IDLE or not (grown or _resident() > kept + SLACK):
        return kept
    await asyncio.to_thread(_give_back, grown)
    return _resident()


def trim() -> None:
    """Return free memory to the system, which glibc does not do by itself."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _map_large_blocks() -> None:
    """Let glibc return large blocks as soon as they are free, and the ends of its heaps.

    It would raise both limits by itself, up to 32 and 64 MiB. What lies below them stays in the
    heaps of threads, whose ends no trim returns.
    """
    if MMAP_SETTING not in os.environ:
        with suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None)
            libc.mallopt(M_MMAP_THRESHOLD, LARGE)
            libc.mallopt(M_TRIM_THRESHOLD, 2 * LARGE)


def _give_back(memories: Iterable[IdleMemory]) -> None:
    for memory in memories:
        memory.give_back()
    trim()


def _resident() -> int:
    """Return the bytes that this process has in memory; 0 outside Linux."""
    try:
        return int(RESIDENT.read_text().split()[1]) * mmap.PAGESIZE
    except OSError:
        return 0
