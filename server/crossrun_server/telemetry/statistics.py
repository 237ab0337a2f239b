"""What one version of a model has done since it was loaded, counted as Triton counts.

Knows no messages. Times are nanoseconds. Requests are counted on the thread that ends them, runs on
the session's thread, and both may be read at any time.
Source: https://github.com/triton-inference-server/server (docs/protocol/extension_statistics.md).
"""

import asyncio
import time
from dataclasses import dataclass, field
from threading import Lock

from crossrun_server.errors import DeadlineExceeded, QueueFull, ServingError
from crossrun_server.scheduling.batching import Execution, Reply
from crossrun_server.telemetry.durations import Duration, Histogram
from crossrun_server.telemetry.request_record import RequestRecord

# Why requests fail: the queue refused, the caller left, the model failed, all else.
REJECTED, CANCELED, BACKEND, OTHER = REASONS = ("REJECTED", "CANCELED", "BACKEND", "OTHER")


@dataclass
class Batches:
    """How long the runs of one batch size took; each Duration counts runs."""

    input: Duration = field(default_factory=Duration)
    infer: Duration = field(default_factory=Duration)
    output: Duration = field(default_factory=Duration)


@dataclass
class Counters:
    """All the figures. Each Duration counts requests, but `decode` counts calls."""

    last_arrival_ns: int = 0  # since 1970; 0 before the first request
    inferences: int = 0  # rows answered, without cache hits
    executions: int = 0  # runs that succeeded
    success: Histogram = field(default_factory=Histogram)
    fail: Duration = field(default_factory=Duration)
    decode: Histogram = field(default_factory=Histogram)
    queue: Histogram = field(default_factory=Histogram)
    input: Histogram = field(default_factory=Histogram)
    infer: Histogram = field(default_factory=Histogram)
    output: Histogram = field(default_factory=Histogram)
    cache_hit: Duration = field(default_factory=Duration)
    cache_miss: Duration = field(default_factory=Duration)
    batches: dict[int, Batches] = field(default_factory=dict)  # by rows
    failures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))


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
            if record.origin.decoding is not None:
                began, ended = record.origin.decoding
                counters.decode.add(ended - began, record.trace_id)
            if record.error is not None:
                counters.fail.add(record.duration_ns)
                counters.failures[_reason(record.error)] += 1
            elif record.reply is not None:
                counters.success.add(record.duration_ns, record.trace_id)
                _count_reply(counters, record.reply, record)

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
            return added(Counters(), self._counters)


def added(one: Counters, other: Counters) -> Counters:
    """Add up two processes' figures of the same version of a model; neither is changed."""
    total = Counters(
        last_arrival_ns=max(one.last_arrival_ns, other.last_arrival_ns),
        inferences=one.inferences + other.inferences,
        executions=one.executions + other.executions,
        failures={why: n + other.failures[why] for why, n in one.failures.items()},
    )
    for counters in (one, other):
        _add_durations(total, counters)
        for rows, batches in counters.batches.items():
            _add_durations(total.batches.setdefault(rows, Batches()), batches)
    return total


def _add_durations(total: Counters | Batches, other: Counters | Batches) -> None:
    for name, duration in vars(other).items():
        if isinstance(duration, Duration):
            getattr(total, name).include(duration)


def _count_reply(counters: Counters, reply: Reply, record: RequestRecord) -> None:
    trace_id = record.trace_id
    counters.queue.add(reply.queue_ns, trace_id)
    if reply.batch == 0:
        counters.cache_hit.add(reply.cache_ns)
        return
    counters.inferences += record.rows
    counters.input.add(reply.input_ns, trace_id)
    counters.infer.add(reply.compute_ns, trace_id)
    counters.output.add(reply.output_ns, trace_id)
    if reply.cache_ns:
        counters.cache_miss.add(reply.cache_ns)


def _reason(error: type[BaseException]) -> str:
    if issubclass(error, asyncio.CancelledError):
        return CANCELED
    if issubclass(error, QueueFull | DeadlineExceeded):
        return REJECTED
    return OTHER if issubclass(error, ServingError) else BACKEND
