"""Calls functions at a time, on one thread for the whole process.

The functions are quick. Times are those of time.monotonic(), in seconds.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

log = logging.getLogger(__name__)

FEW = 1000  # alarms


class Alarm:
    """A function that is called at its time, unless it is cancelled before."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self.ring: Callable[[], None] | None = ring

    def cancel(self) -> None:
        """Never call the function, if it has not been called yet; it is let go of."""
        self.ring = None


class Alarms:
    """The alarms to come; its thread starts with the first of them."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()  # alarms of the same time ring in order
        self._most = FEW  # alarms; as many are looked through for those that were cancelled
        self._sooner = threading.Condition()
        self._thread: threading.Thread | None = None

    def at(self, when: float, ring: Callable[[], None]) -> Alarm:
        """Call a function at a time, or at once if that has passed."""
        alarm = Alarm(ring)
        with self._sooner:
            if len(self._heap) >= self._most:
                self._forget_cancelled()
            heapq.heappush(self._heap, (when, next(self._numbers), alarm))
            if self._heap[0][2] is alarm:
                self._sooner.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._ring, name="alarms", daemon=True)
                self._thread.start()
        return alarm

    def _forget_cancelled(self) -> None:
        """Let go of alarms that will not ring, though their time is far off."""
        self._heap = [entry for entry in self._heap if entry[2].ring is not None]
        heapq.heapify(self._heap)
        self._most = max(FEW, 2 * len(self._heap))

    def _ring(self) -> None:
        while True:
            alarm = self._next()
            if alarm.ring is not None:
                try:
                    alarm.ring()
                except Exception:
                    log.exception("an alarm failed")

    def _next(self) -> Alarm:
        """Wait for the next alarm."""
        with self._sooner:
            while True:
                while self._heap and self._heap[0][2].ring is None:
                    heapq.heappop(self._heap)
                if not self._heap:
                    self._sooner.wait()
                elif (left := self._heap[0][0] - time.monotonic()) > 0:
                    self._sooner.wait(min(left, threading.TIMEOUT_MAX))
                else:
                    return heapq.heappop(self._heap)[2]


ALARMS = Alarms()
