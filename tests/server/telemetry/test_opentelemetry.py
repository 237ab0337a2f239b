"""Traces for OpenTelemetry: a real server, and a real receiver of OTLP."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)

from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.v1 import vision_pb2, vision_pb2_grpc
from crossrun_server import telemetry
from crossrun_server.errors import ServingError
from crossrun_server.telemetry import trace_context, trace_settings, tracing
from tests.support.pictures import plain
from tests.support.requests import gather, infer, refusal, simple
from tests.support.running import Command, Server, serving
from tests.support.telemetry import OPENMETRICS, samples, scrape, trace

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra [otel] is missing")
from tests.support.otlp import Receiver, Span, receiver

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
SERVER, INTERNAL = 2, 1  # kinds of spans


def sent(sampled: bool = True, number: int = 0) -> tuple[tuple[str, str]]:
    """What a caller sends along that is traced itself."""
    flags = "01" if sampled else "00"
    return (("traceparent", f"00-{TRACE[:-2]}{number:02x}-{PARENT}-{flags}"),)


@contextmanager
def traced(
    repository: Path, log: Path, received: Receiver, *options: str, rate: int = 1
) -> Iterator[Server]:
    """A server that sends its traces."""
    forms = (
        "mode=opentelemetry", f"opentelemetry,url={received.url}",
        "opentelemetry,resource=service.name=tests", "level=TIMESTAMPS", f"rate={rate}",
    )  # fmt: skip
    words = [word for form in forms for word in ("--trace-config", form)]
    with serving(repository, log, *words, *options) as running:
        yield running


@pytest.fixture
def received() -> Iterator[Receiver]:
    with receiver() as taking:
        yield taking


def within(inner: Span, outer: Span) -> bool:
    return (
        inner.trace == outer.trace
        and inner.parent == outer.id
        and outer.began <= inner.began <= inner.ended <= outer.ended
    )


def test_a_request_has_spans_of_its_parts(
    front: str, tiny_models: Path, log_file: Path, received: Receiver
) -> None:
    """They are the caller's trace, each lies within its parent, and a failure is marked as one."""
    with (
        traced(tiny_models, log_file, received, "--front", front) as running,
        grpc.insecure_channel(running.address) as channel,
    ):
        message = simple(1, 2)
        message.id = "the first"
        Stub(channel).ModelInfer(message, metadata=sent())
        refusal(Stub(channel).ModelInfer, gather(99), metadata=sent(number=1))
        classify = vision_pb2_grpc.VisionStub(channel).Classify
        for number, pictures in ((2, 1), (3, 2)):
            request = vision_pb2.ClassifyRequest(
                model="colours", images=[plain(9, 9, 9)] * pictures
            )
            classify(request, metadata=sent(number=number))
        stream = Stub(channel).ModelStreamInfer(iter([gather(1)]), metadata=sent(number=4))
        assert len(list(stream)) == 1
        assert running.stop() == 0
    spans = received.of(f"{TRACE[:-2]}00")
    assert spans.keys() == {"request", "queue", "batch", "compute"}
    whole = spans["request"]
    assert (whole.parent, whole.kind, whole.failed) == (PARENT, SERVER, False)
    assert whole.attributes == {
        "model.name": "simple", "model.version": "1", "request.rows": 2,
        "request.id": "the first", "cache.hit": False,
    }  # fmt: skip
    assert whole.resource["service.name"] == "tests"
    assert within(spans["queue"], whole)
    assert within(spans["batch"], whole)
    assert within(spans["compute"], spans["batch"])
    assert spans["batch"].attributes == {"batch.requests": 1}
    assert spans["queue"].ended == spans["batch"].began
    (failed,) = received.of(f"{TRACE[:-2]}01").values()
    assert failed.failed
    for number in (2, 3):
        seen = received.of(f"{TRACE[:-2]}{number:02x}")
        assert within(seen["decode"], seen["request"])
        assert seen["decode"].ended <= seen["queue"].began
    assert received.of(f"{TRACE[:-2]}04").keys() == spans.keys()


def test_a_caller_s_decision_stands_before_the_rate(
    front: str, tiny_models: Path, log_file: Path, received: Receiver
) -> None:
    """A trace that the caller does not sample is left out, one that it samples is not; of others
    one in so many is begun, with an id of its own. Buckets show one trace each."""
    with (
        traced(tiny_models, log_file, received, "--front", front, rate=3) as running,
        grpc.insecure_channel(running.address) as channel,
    ):
        stub = Stub(channel)
        stub.ModelInfer(gather(1), metadata=sent())
        stub.ModelInfer(gather(1), metadata=sent(sampled=False, number=1))
        stub.ModelInfer(gather(1), metadata=(("traceparent", "no header at all"),))
        for _ in range(5):
            stub.ModelInfer(gather(1))
        text = scrape(running, OPENMETRICS)
        assert "trace_id" not in scrape(running)
        assert running.stop() == 0
    requests = [span for span in received.spans if span.name == "request"]
    assert [span.trace == TRACE[:-2] + "00" for span in requests] == [True, False, False]
    assert [span.parent for span in requests] == [PARENT, "", ""]
    shown = {
        sample.exemplar.labels["trace_id"]
        for family in read_openmetrics(text)  # type: ignore[no-untyped-call]
        if family.name == "crossrun_request_duration_seconds"
        for sample in family.samples
        if sample.exemplar
    }
    assert shown
    assert shown <= {span.trace for span in requests}


def test_spans_that_nobody_takes_are_counted(
    tiny_models: Path, log_file: Path, received: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are answered all the same, and the log says it once."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    received.status = 400
    with traced(tiny_models, log_file, received) as running:
        infer(running, gather(1))
        while samples(running, "crossrun_dropped_spans_total") != [4]:
            pass
        assert running.log.read_text().count("spans are dropped") == 1
        infer(running, gather(1))
    assert received.spans == []


def test_spans_that_do_not_fit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for so many that wait; others are dropped at once, and no request waits."""
    from opentelemetry.sdk.trace.export import SpanExporter

    from crossrun_server.telemetry import spans

    monkeypatch.setattr(spans, "WAITING", 10)
    sender = spans.Sender(SpanExporter())
    assert [sender.admits(4) for _ in range(4)] == [True, True, False, False]
    assert sender.dropped == 8


def test_each_worker_sends_its_traces(
    tiny_models: Path, log_file: Path, received: Receiver
) -> None:
    """A span says which of them it is from, and what is lost is summed."""
    with traced(tiny_models, log_file, received, "--workers", "2") as running:
        infer(running, gather(1))
        assert samples(running, "crossrun_dropped_spans_total") == [0]
        assert running.stop() == 0
    (request,) = (span for span in received.spans if span.name == "request")
    assert request.resource["service.instance.id"] in ("worker1", "worker2")


def test_the_settings_are_told_and_changed(
    tiny_models: Path, log_file: Path, received: Receiver
) -> None:
    """TraceSetting turns traces on and off while the server runs, as with files."""
    with traced(tiny_models, log_file, received) as running:
        assert trace(running)["trace_mode"] == ["opentelemetry"]
        trace(running, trace_level=["OFF"])
        infer(running, gather(1))
        trace(running, trace_level=["TIMESTAMPS"])
        infer(running, gather(2))
        assert running.stop() == 0
    assert len([span for span in received.spans if span.name == "request"]) == 1


def test_without_the_extra_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what to install."""
    monkeypatch.delitem(sys.modules, "crossrun_server.telemetry.spans", raising=False)
    monkeypatch.delattr(telemetry, "spans", raising=False)
    module = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
    monkeypatch.setitem(sys.modules, module, None)
    config = trace_settings.parse(["mode=opentelemetry"])
    with pytest.raises(ServingError, match=r"needs opentelemetry.+install the extra \[otel\]"):
        tracing.started(config)


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (
            "opentelemetry,url=localhost:4318",
            "--trace-config is 'opentelemetry,url=localhost:4318'",
        ),
        (
            "opentelemetry,resource=tests",
            "--trace-config is 'opentelemetry,resource=tests', expected",
        ),
        (
            "opentelemetry,url=http://localhost:1/",
            "--trace-config opentelemetry,url=http://localhost:1/ needs",
        ),
        ("mode=jaeger", "--trace-config is 'mode=jaeger', expected triton,file=PATH"),
    ],
)
def test_an_option_that_cannot_be_followed_is_one_line(
    option: str, expected: str, tiny_models: Path, run: Command
) -> None:
    """The server does not start and pass the option over."""
    ended = run("crossrun-serve", tiny_models, "--port", 0, "--trace-config", option)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"crossrun-serve: {expected}")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"00-{TRACE}-{PARENT}-01", (TRACE, PARENT, True)),
        (f"00-{TRACE}-{PARENT}-02", (TRACE, PARENT, False)),
        (f"cc-{TRACE}-{PARENT}-01-more", (TRACE, PARENT, True)),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}", None),
        ("", None),
    ],
)
def test_a_header_is_read_as_the_w3c_has_it(
    header: str, expected: tuple[str, str, bool] | None
) -> None:
    """What is no such header begins a trace of its own."""
    assert trace_context.parse(header) == expected
