"""Lets only so many threads work at once; what comes meanwhile waits, and is done by them."""

from collections import deque
from collections.abc import Callable
from threading import Lock

Job = Callable[[], None]  # raises nothing


class Turns:
    """Jobs in the order in which they came.

    Args:
        most: how many threads work at once.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._free = most
        self._waiting: deque[Job] = deque()
        self._lock = Lock()

    def take(self, job: Job) -> None:
        """Do a job on this thread, then those that wait; leave it to others if they are enough."""
        with self._lock:
            if not self._free:
                self._waiting.append(job)
                return
            self._free -= 1
        following: Job | None = job
        while following:
            following()
            following = self._next()

    def _next(self) -> Job | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._free += 1
            return None
