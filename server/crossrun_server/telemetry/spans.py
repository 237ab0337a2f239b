"""Spans of requests for OpenTelemetry, made once a request is over.

A request has a span, with one each for decoding its picture, waiting, its batch, and the batch's
run. The SDK's own thread sends them in batches, as OTLP over HTTP. What cannot be sent is dropped
and counted; no request waits for it.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from threading import Lock
from time import perf_counter_ns, time_ns

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags, format_trace_id
from opentelemetry.trace.status import Status, StatusCode

from crossrun_server import distribution
from crossrun_server.scheduling.batching import Reply
from crossrun_server.telemetry.request_record import RequestRecord
from crossrun_server.telemetry.trace_context import TraceParent

log = logging.getLogger(__name__)

WAITING = 2048  # spans that are not sent yet
PATIENCE = 5  # seconds that a receiver has for a batch
SAMPLED = TraceFlags(TraceFlags.SAMPLED)
IDS = RandomIdGenerator()
SCOPE = InstrumentationScope("crossrun_server", version(distribution.NAME))

Attributes = Mapping[str, str | int | bool]


def started(url: str, resource: Mapping[str, str]) -> "Spans":
    """Start to send spans.

    Args:
        url: takes OTLP over HTTP.
        resource: what the spans say of this process, besides OpenTelemetry's environment variables.
    """
    name = {"service.name": os.environ.get("OTEL_SERVICE_NAME", "crossrun")}
    sender = Sender(OTLPSpanExporter(endpoint=url, timeout=PATIENCE))
    processor = BatchSpanProcessor(sender, max_queue_size=WAITING)
    return Spans(processor, sender, Resource.create({**name, **resource}))


class Sender(SpanExporter):
    """Sends spans, and knows how many wait and how many were lost."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._waiting = 0
        self._lock = Lock()
        self.dropped = 0

    def admits(self, count: int) -> bool:
        """Whether there is room for so many spans; they wait from now on, or are dropped."""
        with self._lock:
            room = self._waiting + count <= WAITING
            if room:
                self._waiting += count
            else:
                self._drop(count)
        return room

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; takes no longer than PATIENCE."""
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            with self._lock:
                self._waiting -= len(spans)
                if result is not SpanExportResult.SUCCESS:
                    self._drop(len(spans))
        return result

    def shutdown(self) -> None:
        """Let the connections go."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002 - its base's
        """Do nothing: what is here is sent at once."""
        return True

    def _drop(self, count: int) -> None:
        if not self.dropped:
            log.warning("spans are dropped: their receiver does not take them, or not fast enough")
        self.dropped += count


class Spans:
    """Takes requests that are to be traced.

    Args:
        processor: hands spans to the sender, on a thread of its own.
        sender: counts them.
        resource: what they say of this process.
    """

    def __init__(self, processor: BatchSpanProcessor, sender: Sender, resource: Resource) -> None:
        self._processor = processor
        self._sender = sender
        self._resource = resource

    @property
    def dropped(self) -> int:
        """How many spans were lost."""
        return self._sender.dropped

    def keep(self, record: RequestRecord, parent: TraceParent | None) -> None:
        """Make the spans of a request, and note its trace."""
        trace = int(parent.trace_id, 16) if parent else IDS.generate_trace_id()
        record.trace_id = format_trace_id(trace)
        caller = _context(trace, int(parent.span_id, 16), remote=True) if parent else None
        spans = list(_Trace(record, trace, self._resource).spans(caller))
        if self._sender.admits(len(spans)):
            for span in spans:
                self._processor.on_end(span)

    def close(self) -> None:
        """Send what waits."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]


class _Trace:
    """One request, and what all its spans have in common."""

    def __init__(self, record: RequestRecord, trace: int, resource: Resource) -> None:
        self._record = record
        self._trace = trace
        self._resource = resource
        self._since = time_ns() - perf_counter_ns()  # 1970, on the clock of records

    def spans(self, caller: SpanContext | None) -> Iterator[ReadableSpan]:
        """Make the spans; that of the request is a child of the caller's, if there is one."""
        record, request = self._record, _context(self._trace, IDS.generate_span_id())
        began, decoded = record.origin.decoding or (record.started_ns, 0)
        yield self._span("request", request, caller, began, record.ended_ns)
        if decoded:
            yield self._span("decode", self._new(), request, began, decoded)
        if record.reply is not None and record.reply.batch:
            yield from self._run(request, record.reply)

    def _run(self, request: SpanContext, reply: Reply) -> Iterator[ReadableSpan]:
        batch, waited = self._new(), self._record.queued_ns + reply.queue_ns
        ready = waited + reply.input_ns
        computed = ready + reply.compute_ns
        yield self._span("queue", self._new(), request, self._record.queued_ns, waited)
        yield self._span("batch", batch, request, waited, computed + reply.output_ns)
        yield self._span("compute", self._new(), batch, ready, computed)

    def _new(self) -> SpanContext:
        return _context(self._trace, IDS.generate_span_id())

    def _span(
        self, name: str, context: SpanContext, parent: SpanContext | None, began: int, ended: int
    ) -> ReadableSpan:
        failed = name == "request" and self._record.error is not None
        return ReadableSpan(
            name=name,
            context=context,
            parent=parent,
            resource=self._resource,
            attributes=_attributes(name, self._record),
            kind=SpanKind.SERVER if name == "request" else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR) if failed else Status(),
            start_time=self._since + began,
            end_time=self._since + ended,
            instrumentation_scope=SCOPE,
        )


def _context(trace: int, span: int, *, remote: bool = False) -> SpanContext:
    return SpanContext(trace, span, is_remote=remote, trace_flags=SAMPLED)


def _attributes(name: str, record: RequestRecord) -> Attributes:
    if name == "batch" and record.reply is not None:
        return {"batch.requests": record.reply.batch}
    if name != "request":
        return {}
    told: dict[str, str | int | bool] = {
        "model.name": record.model,
        "model.version": record.version,
        "request.rows": record.rows,
    }
    if record.origin.request_id:
        told["request.id"] = record.origin.request_id
    if record.error is not None:
        told["error.type"] = record.error.__name__
    if record.reply is not None:
        told["cache.hit"] = record.reply.batch == 0
    return told
