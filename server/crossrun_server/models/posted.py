"""A request that no coroutine waits for: its caller is told, and its end is recorded once."""

from collections.abc import Callable, Iterable
from threading import Lock
from time import perf_counter_ns
from typing import Protocol

from crossrun_server.scheduling.batching import Reply, Result
from crossrun_server.scheduling.in_flight import InFlight
from crossrun_server.telemetry.request_record import Observer, RequestRecord


class Caller(Protocol):
    """Who waits for an answer; its methods are called on any thread."""

    @property
    def waits(self) -> bool:
        """Whether it still waits."""

    def gone(self) -> BaseException:
        """Return why it does not: CancelledError or DeadlineExceeded."""

    def when_gone(self, leave: Callable[[], None]) -> None:
        """Note what is to be called if it leaves before it is answered."""

    def answer(self, result: Result) -> None:
        """Take the answer."""


class PostedRequest:
    """Watches a request from its arrival to its end, and keeps its model in use until then."""

    def __init__(
        self, record: RequestRecord, caller: Caller, in_use: InFlight, observers: Iterable[Observer]
    ) -> None:
        self.record = record
        self._caller = caller
        self._in_use = in_use
        self._observers = observers
        self._first = Lock()
        in_use.__enter__()

    def has_left(self) -> bool:
        """Whether nobody waits for the answer."""
        return not self._caller.waits

    def answer(self, result: Result) -> None:
        """Record a result and give it to the caller, unless that has left."""
        if self.has_left():
            self.end(self._caller.gone())
        elif self.end(result):
            self._caller.answer(result)

    def leave(self) -> None:
        """Record that the caller has left."""
        self.end(self._caller.gone())

    def end(self, result: Reply | BaseException) -> bool:
        """Tell the observers how the request has ended; returns whether that is news."""
        if not self._first.acquire(blocking=False):
            return False
        record = self.record
        record.ended_ns = perf_counter_ns()
        if isinstance(result, BaseException):
            record.error = type(result)
        else:
            record.reply = result
        for observe in self._observers:
            observe(record)
        self._in_use.__exit__()
        return True
