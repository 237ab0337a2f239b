"""What one version of a model has done since it was loaded, counted as Triton counts.

Knows no messages. Times are nanoseconds. Requests are counted on the event loop, runs on the
session's thread, and both may be read at any time.
Source: https://github.com/triton-inference-server/server (docs/protocol/extension_statistics.md).
"""

import asyncio
import copy
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from threading import Lock

from crossrun_server.errors import DeadlineExceeded, QueueFull, ServingError
from crossrun_server.scheduling.batching import Execution, Reply
from crossrun_server.telemetry.request_record import RequestRecord

# Upper bounds of the latency histogram, seconds.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Why requests fail: the queue refused, the caller left, the model failed, all else.
REJECTED, CANCELED, BACKEND, OTHER = REASONS = ("REJECTED", "CANCELED", "BACKEND", "OTHER")


@dataclass
class Duration:
    """How often something happened and how long it took altogether."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        """Count once more, or as often as `count` says; `ns` is for all together."""
        self.count += count
        self.ns += ns


@dataclass
class Batches:
    """How long the runs of one batch size took; each Duration counts runs."""

    input: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)


@dataclass
class Counters:
    """All the figures. Each Duration counts requests."""

    last_arrival_ns: int = 0  # since 1970; 0 before the first request
    inferences: int = 0  # rows answered, without cache hits
    executions: int = 0  # runs that succeeded
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    input: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)
    cache_hit: Duration = field(default_factory=Duration)
    cache_miss: Duration = field(default_factory=Duration)
    batches: dict[int, Batches] = field(default_factory=dict)  # by rows
    failures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))
    # Successes by duration; the last number is for those over the last bound.
    histogram: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))


class Statistics:
    """Counts the requests and the runs of one version of a model."""

    def __init__(self) -> None:
        self._counters = Counters()
        self._lock = Lock()

    def finished(self, record: RequestRecord) -> None:
        """Count a request that is over."""
        arrived_ns = time.time_ns() - record.duration_ns
        with self._lock:
            counters = self._counters
            counters.last_arrival_ns = max(counters.last_arrival_ns, arrived_ns)
            if record.error is not None:
                counters.fail.add(record.duration_ns)
                counters.failures[_reason(record.error)] += 1
            elif record.reply is not None:
                counters.success.add(record.duration_ns)
                counters.histogram[bisect_left(BOUNDS, record.duration_ns / 1e9)] += 1
                _count_reply(counters, record.reply, record.rows)

    def executed(self, execution: Execution) -> None:
        """Count a run, unless it failed: then its requests count as failed."""
        if execution.failed:
            return
        with self._lock:
            self._counters.executions += 1
            batches = self._counters.batches.setdefault(execution.rows, Batches())
            batches.input.add(execution.input_ns)
            batches.infer.add(execution.infer_ns)
            batches.output.add(execution.output_ns)

    def read(self) -> Counters:
        """Return a copy of the figures at this moment."""
        with self._lock:
            return _copied(self._counters)


def _copied(counters: Counters) -> Counters:
    """Copy by hand: copy.deepcopy would block the event loop for a quarter of a millisecond."""
    parts = {name: copy.copy(value) for name, value in vars(counters).items()}
    batches = {
        rows: Batches(*(copy.copy(duration) for duration in vars(batch).values()))
        for rows, batch in counters.batches.items()
    }
    return Counters(**parts | {"batches": batches})


def added(one: Counters, other: Counters) -> Counters:
    """Add up two processes' figures of the same version of a model."""
    total = _copied(one)
    total.last_arrival_ns = max(one.last_arrival_ns, other.last_arrival_ns)
    total.inferences += other.inferences
    total.executions += other.executions
    _add_durations(total, other)
    for rows, batches in other.batches.items():
        _add_durations(total.batches.setdefault(rows, Batches()), batches)
    total.failures = {why: n + other.failures[why] for why, n in one.failures.items()}
    total.histogram = [sum(pair) for pair in zip(one.histogram, other.histogram, strict=True)]
    return total


def _add_durations(total: Counters | Batches, other: Counters | Batches) -> None:
    for name, duration in vars(other).items():
        if isinstance(duration, Duration):
            getattr(total, name).add(duration.ns, duration.count)


def _count_reply(counters: Counters, reply: Reply, rows: int) -> None:
    counters.queue.add(reply.queue_ns)
    if reply.batch == 0:
        counters.cache_hit.add(reply.cache_ns)
        return
    counters.inferences += rows
    counters.input.add(reply.input_ns)
    counters.infer.add(reply.compute_ns)
    counters.output.add(reply.output_ns)
    if reply.cache_ns:
        counters.cache_miss.add(reply.cache_ns)


def _reason(error: type[BaseException]) -> str:
    if issubclass(error, asyncio.CancelledError):
        return CANCELED
    if issubclass(error, QueueFull | DeadlineExceeded):
        return REJECTED
    return OTHER if issubclass(error, ServingError) else BACKEND
