"""What is known of one request once it is over. Knows neither what counts nor what traces it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import NamedTuple

from crossrun_server.scheduling.batching import Reply


class Origin(NamedTuple):
    """What the call says of a request to a model."""

    request_id: str = ""
    traceparent: str = ""  # as the caller has sent it
    decoding: tuple[int, int] | None = None  # when it began and ended, as the times of a record


NOBODY = Origin()


@dataclass(slots=True)
class RequestRecord:
    """One request to one version of a model; times are those of time.perf_counter_ns().

    If it failed, or its caller left, `reply` is None and `error` is set.
    """

    model: str
    version: str
    origin: Origin
    started_ns: int = field(default_factory=perf_counter_ns)
    queued_ns: int = 0  # 0: it was refused before it could wait
    ended_ns: int = 0
    rows: int = 0
    reply: Reply | None = None
    error: type[BaseException] | None = None  # not the error itself: it holds on to the request
    trace_id: str = ""  # of its trace, 32 hexadecimal digits; empty if it is not traced

    @property
    def duration_ns(self) -> int:
        """Nanoseconds from arrival to answer."""
        return self.ended_ns - self.started_ns


Observer = Callable[[RequestRecord], None]
