"""A receiver of OpenTelemetry's traces: OTLP over HTTP, as Jaeger and Tempo take it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from gzip import decompress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Span:
    """What a test looks at of a span."""

    name: str
    trace: str  # ids in hexadecimal digits, as in `traceparent`
    id: str
    parent: str
    began: int  # nanoseconds since 1970
    ended: int
    kind: int
    failed: bool
    attributes: dict[str, object]
    resource: dict[str, object]


@dataclass
class Receiver:
    """What has been received."""

    status: int = 200  # of its answers
    url: str = ""
    spans: list[Span] = field(default_factory=list)

    def of(self, trace: str) -> dict[str, Span]:
        """The spans of a trace by name."""
        return {span.name: span for span in self.spans if span.trace == trace}


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Take traces until the block ends."""
    received = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            packed = self.headers.get("Content-Encoding") == "gzip"
            if received.status == 200:
                received.spans += _spans(decompress(body) if packed else body)
            self.send_response(received.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        received.url = f"http://127.0.0.1:{server.server_port}/v1/traces"
        try:
            yield received
        finally:
            server.shutdown()
            thread.join()


def _spans(body: bytes) -> Iterator[Span]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        told = _values(resource.resource.attributes)
        for scope in resource.scope_spans:
            for one in scope.spans:
                yield Span(
                    name=one.name,
                    trace=one.trace_id.hex(),
                    id=one.span_id.hex(),
                    parent=one.parent_span_id.hex(),
                    began=one.start_time_unix_nano,
                    ended=one.end_time_unix_nano,
                    kind=one.kind,
                    failed=one.status.code == one.status.STATUS_CODE_ERROR,
                    attributes=_values(one.attributes),
                    resource=told,
                )


def _values(attributes: Sequence[Any]) -> dict[str, object]:
    return {it.key: getattr(it.value, it.value.WhichOneof("value")) for it in attributes}
