"""Lets only so many threads work at once; what comes meanwhile waits, and is done by them."""

import asyncio
import math
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from threading import Lock
from time import monotonic
from typing import TypeVar

from crossrun_server.scheduling import waiting_time
from crossrun_server.scheduling.fair_line import FairLine
from crossrun_server.scheduling.waiting_time import Pace

Job = Callable[[], None]  # raises nothing
T = TypeVar("T")


class Turns:
    """Jobs that have turns: those of one connection in their order, connections one by one.

    Args:
        most: how many threads work at once.
        max_wait: how many seconds anybody may be expected to wait.
    """

    def __init__(self, most: int, max_wait: float = math.inf) -> None:
        self.most = most
        self._max_wait = max_wait
        self._free = most
        self._waiting = FairLine[Job]()
        self._pace = Pace()
        self._lock = Lock()
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="turns")

    def check(self, connection: Hashable, deadline: float | None) -> None:
        """Find out whether a job would have its turn in time.

        Args:
            connection: that it comes by.
            deadline: on the monotonic clock, in seconds; None if there is none.

        Raises:
            QueueFull: it would not.
            DeadlineExceeded: the deadline has passed.
        """
        with self._lock:
            if not self._free:
                wait = self._pace.row * self._waiting.rows_before(connection)
                left = None if deadline is None else deadline - monotonic()
                waiting_time.check(wait, 0, left, self._max_wait)

    def take(self, job: Job, connection: Hashable) -> None:
        """Do a job on this thread, then those that wait; leave it to others if they are enough."""
        if self._begins(job, connection):
            self._work(job)

    async def result(self, function: Callable[[], T], connection: Hashable) -> T:
        """Call a function on a thread, in its turn, unless the caller leaves before."""
        future = Future[T]()
        job = partial(_fulfil, future, function)
        if self._begins(job, connection):
            self._threads.submit(self._work, job)
        return await asyncio.wrap_future(future)

    def _begins(self, job: Job, connection: Hashable) -> bool:
        """Whether a job has its turn at once; otherwise it waits."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True
            self._waiting.enter(job, connection)
            return False

    def _work(self, job: Job) -> None:
        following: Job | None = job
        while following:
            started = monotonic()
            following()
            following = self._next(monotonic() - started)

    def _next(self, seconds: float) -> Job | None:
        """Take the next job, after one that took so many seconds."""
        with self._lock:
            self._pace.note(seconds, rows=1, share=1 / self.most)
            job = next(iter(self._waiting), None)
            if job is None:
                self._free += 1
            else:
                self._waiting.take(job)
            return job


def _fulfil(future: Future[T], function: Callable[[], T]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - passed on to who waits, whatever it is
        future.set_exception(error)
    else:
        future.set_result(result)
