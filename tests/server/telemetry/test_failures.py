"""Calls that do not end well: each is counted and logged, through both front ends."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.telemetry import failures
from crossrun_server.telemetry.failures import CallInfo, Failure, Failures
from tests.support import models
from tests.support.pictures import plain
from tests.support.requests import gather, outcome, refusal, slow, until_running
from tests.support.running import Server, serving
from tests.support.telemetry import samples
from tests.support.vision import classify

INFER = "inference.GRPCInferenceService/ModelInfer"
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACED = (("traceparent", f"00-{TRACE}-b7ad6b7169203331-00"),)
LARGE = 2 << 20  # bytes: too much for a request that has no tensors
HASTY = "dynamic_batching { default_queue_policy { default_timeout_microseconds: 100000 } }"


@pytest.fixture(scope="module")
def failing(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose log is JSON."""
    room = tmp_path_factory.mktemp(front)
    models.write(room / "m", "gather", models.gather(), "max_batch_size: 8")
    models.write(room / "m", "slow", models.slow(), models.SLOW_CONFIG)
    models.write(room / "m", "hasty", models.slow(), models.ONE_AT_A_TIME + HASTY)
    with serving(room / "m", room / "log", "--front", front, "--log-format", "json") as running:
        yield running


@pytest.fixture
def stub(failing: Server) -> Iterator[Stub]:
    with grpc.insecure_channel(failing.address) as channel:
        yield Stub(channel)


def lines(server: Server) -> list[dict[str, object]]:
    """What the log says of calls; onnxruntime writes to stderr, too, and has a form of its own."""
    written = server.log.read_text().splitlines()
    events = [json.loads(line) for line in written if "onnxruntime:" not in line[:60]]
    return [event for event in events if "code" in event]


def counted(server: Server, **labels: str) -> float:
    return sum(samples(server, "crossrun_failed_calls_total", **labels))


def until(server: Server, **labels: str) -> None:
    """Wait until a call is counted; the native front end counts some after they have ended."""
    while not counted(server, **labels):
        pass


def test_a_call_that_is_refused_is_a_line(failing: Server, stub: Stub) -> None:
    """The line has the call's id, its trace, where the caller is, the code and the reason."""
    message = pb.ModelInferRequest(model_name="nobody", id='the "first"\n')
    refusal(stub.ModelInfer, message, metadata=TRACED)
    until(failing, method=INFER, code="NOT_FOUND", reason="UnknownModel")
    line = next(line for line in lines(failing) if line["reason"] == "UnknownModel")
    assert re.fullmatch(r"ipv4:127\.0\.0\.1:\d+", str(line.pop("peer")))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", str(line.pop("time")))
    assert str(line.pop("message")).startswith("refused: Request for unknown model: 'nobody'")
    assert isinstance(line.pop("process"), int)
    assert str(line.pop("where")).startswith("failures.py:")
    assert line == {
        "level": "warning",
        "method": INFER,
        "code": "NOT_FOUND",
        "reason": "UnknownModel",
        "request_id": 'the "first"\n',
        "trace_id": TRACE,
    }


def test_what_nobody_expected_is_a_line_with_its_traceback(failing: Server, stub: Stub) -> None:
    """It is one line in JSON, too, and its reason is no name of whatever error it was."""
    message = gather(99)
    message.id = "wrong"
    assert refusal(stub.ModelInfer, message)[0] == StatusCode.INTERNAL
    (line,) = (line for line in lines(failing) if line["request_id"] == "wrong")
    assert (line["level"], line["reason"], line["code"]) == ("error", "Unexpected", "INTERNAL")
    assert "Traceback" in str(line["exception"])
    assert counted(failing, method=INFER, code="INTERNAL", reason="Unexpected") == 1


def test_each_way_to_fail_is_counted_once(failing: Server, stub: Stub) -> None:
    """Full queues, passed deadlines, messages that are none or too large, requests of a stream."""
    hasty = until_running(stub, slow(model="hasty"))
    late = counted(failing, reason="DeadlineExceeded")
    patient = stub.ModelInfer.future(slow(model="hasty"))  # its own deadline would be a race
    assert outcome(patient)[0] == StatusCode.DEADLINE_EXCEEDED
    assert counted(failing, reason="DeadlineExceeded") == late + 1
    hasty.cancel()
    running_and_waiting = [stub.ModelInfer.future(slow()) for _ in range(2)]
    while samples(failing, "nv_inference_pending_request_count", model="slow") != [1]:
        assert not any(call.done() for call in running_and_waiting)
    assert outcome(stub.ModelInfer.future(slow()))[0] == StatusCode.RESOURCE_EXHAUSTED
    for call in running_and_waiting:
        call.cancel()
    large = pb.ModelReadyRequest(name="x" * LARGE)
    assert refusal(stub.ModelReady, large)[0] == StatusCode.RESOURCE_EXHAUSTED
    list(stub.ModelStreamInfer(iter([gather(99), pb.ModelInferRequest(model_name="nobody")])))
    expected = {
        ("RESOURCE_EXHAUSTED", "QueueFull", "ModelInfer"): 1,
        ("RESOURCE_EXHAUSTED", "Limit", "ModelReady"): 1,
        ("INTERNAL", "Unexpected", "ModelStreamInfer"): 1,
        ("NOT_FOUND", "UnknownModel", "ModelStreamInfer"): 1,
    }
    for (code, reason, name), times in expected.items():
        labels = {"code": code, "reason": reason, "method": INFER.replace("ModelInfer", name)}
        while counted(failing, **labels) < times:
            pass
        assert counted(failing, **labels) == times, labels


def test_a_picture_that_is_none_is_a_line(front: str, tiny_models: Path, tmp_path: Path) -> None:
    """Text formats show the fields behind the message; what the caller sent begins no line."""
    with (
        serving(tiny_models, tmp_path / "log", "--front", front) as running,
        grpc.insecure_channel(running.address) as channel,
    ):
        refusal(classify, channel, b"no picture")
        classify(channel, plain(255, 0, 0))
        (line,) = re.findall(r"^W.*refused.*", running.log.read_text(), re.MULTILINE)
        assert counted(running) == 1
    told = "; method=crossrun.v1.Vision/Classify code=INVALID_ARGUMENT reason=InvalidRequest "
    assert re.search(rf"refused: images\[0\].*{re.escape(told)}peer=ipv4:127\.0\.0\.1:\d+$", line)


def test_what_is_at_work_is_told(failing: Server, stub: Stub, front: str) -> None:
    """The bytes of requests that are not answered, and the connections, which grpc.aio hides."""
    running = until_running(stub)
    assert samples(failing, "crossrun_in_flight_bytes")[0] >= slow().ByteSize()
    connections = samples(failing, "crossrun_connections")
    assert connections[0] >= 1 if front == "native" else connections == []
    running.cancel()


# --- A flood of them ---------------------------------------------------------------------------


def flood(noted: Failures, count: int, reason: str = "QueueFull") -> None:
    for _ in range(count):
        noted.note(Failure(INFER, "RESOURCE_EXHAUSTED", reason), "full", lambda: CallInfo("ipv4:"))


def test_a_flood_is_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    """All are counted; what is left out is told, and other reasons are still heard of."""
    noted = Failures()
    flood(noted, 1000)
    assert len(caplog.records) == failures.LINES
    flood(noted, 1, "InvalidRequest")
    assert len(caplog.records) == failures.LINES + 1
    assert sum(noted.read().values()) == 1001
    noted.close()
    last = caplog.records[-1]
    assert last.getMessage().startswith(f"{1000 - failures.LINES} more calls ended")
    assert last.fields["reason"] == "QueueFull"  # type: ignore[attr-defined]


def test_the_end_of_a_period_tells_what_was_left_out(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself, even if nothing fails any more; after that there is room again."""
    monkeypatch.setattr(failures, "PERIOD", 0.05)
    noted = Failures()
    flood(noted, failures.LINES + 5)
    while not any("5 more calls ended" in message for message in caplog.messages):
        pass
    before = len(caplog.records)
    flood(noted, 1)
    assert len(caplog.records) == before + 1


def test_several_that_come_as_one_are_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """As the native front end tells of those that it refused since it was asked."""
    noted = Failures()
    failure = Failure(INFER, "RESOURCE_EXHAUSTED", "Limit")
    noted.note(failure, "too large", lambda: CallInfo("ipv4:"), count=7)
    noted.close()
    assert noted.read() == {failure: 7}
    assert [record.getMessage()[:12] for record in caplog.records] == [
        "refused: too",
        "6 more calls",
    ]
