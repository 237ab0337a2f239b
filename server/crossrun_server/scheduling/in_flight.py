"""Counts what is under way, so that an end can wait for it. Safe for all threads."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from threading import Lock


class InFlight:
    """A context manager around each piece of work."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = Lock()
        self._tell: list[Callable[[], object]] = []  # who waits until nothing is under way

    def __enter__(self) -> None:
        with self._lock:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1
            ended = self._take_waiting()
        for tell in ended:
            with suppress(RuntimeError):  # its event loop is closed
                tell()

    async def drained(self) -> None:
        """Wait until nothing is under way."""
        none, loop = asyncio.Event(), asyncio.get_running_loop()
        with self._lock:
            if self._count:
                self._tell.append(lambda: loop.call_soon_threadsafe(none.set))
            else:
                none.set()
        await none.wait()

    def _take_waiting(self) -> list[Callable[[], object]]:
        if self._count:
            return []
        waiting, self._tell = self._tell, []
        return waiting
