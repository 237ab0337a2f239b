"""ModelStreamInfer over a real connection: order, errors, half-close, cancelling, stopping."""

import queue
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.services.stream import CONCURRENT
from tests.support import models
from tests.support.requests import AGES, code_of, simple, slow, until_running
from tests.support.running import Server, serving


class Stream:
    """A stream that a test writes to and reads from step by step."""

    def __init__(self, channel: grpc.Channel, **metadata: str) -> None:
        self._requests: queue.SimpleQueue[pb.ModelInferRequest | None] = queue.SimpleQueue()
        requests = iter(self._requests.get, None)
        self.call: Any = Stub(channel).ModelStreamInfer(requests, metadata=tuple(metadata.items()))

    def send(self, request: pb.ModelInferRequest, id_: str = "") -> None:
        """Send one request under an id of its own."""
        named = pb.ModelInferRequest()
        named.CopyFrom(request)
        named.id = id_
        self._requests.put(named)

    def receive(self) -> pb.ModelStreamInferResponse:
        """Wait for the next answer."""
        answer: pb.ModelStreamInferResponse = next(self.call)
        return answer

    def half_close(self) -> list[pb.ModelStreamInferResponse]:
        """Say that there are no more requests; returns the answers still to come."""
        self._requests.put(None)
        return list(self.call)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._requests.put(None)
        self.call.cancel()


@pytest.fixture
def stream(channel: grpc.Channel) -> Iterator[Stream]:
    """A stream to the shared server."""
    with Stream(channel) as opened:
        yield opened


def gather(index: int) -> pb.ModelInferRequest:
    """A request that fails inside the model if the index is 10 or more."""
    message = pb.ModelInferRequest(model_name="gather")
    message.inputs.add(name="index", datatype="INT64", shape=[1, 1])
    message.raw_input_contents.append(index.to_bytes(8, "little"))
    return message


def probe(stub: Stub) -> StatusCode:
    """Find out how a call of its own fares: it waits, or the queue is full."""
    return code_of(stub.ModelInfer.future(slow(1), timeout=0.2))


def test_a_stream_answers_as_single_calls_do(channel: grpc.Channel, stream: Stream) -> None:
    """Each answer equals that of ModelInfer, but for the mark that no more belong to it."""
    stream.send(simple(5), "seven")
    answer = stream.receive()
    assert not answer.error_message
    assert answer.infer_response.parameters["triton_final_response"].bool_param
    del answer.infer_response.parameters["triton_final_response"]
    message = simple(5)
    message.id = "seven"
    assert answer.infer_response == Stub(channel).ModelInfer(message)


def test_half_close_waits_for_every_answer(stream: Stream) -> None:
    """A client that ends its requests gets the answers to all of them, in order, and OK."""
    for i in range(3 * CONCURRENT):
        stream.send(gather(i % 10), str(i))
    answers = stream.half_close()
    assert [a.infer_response.id for a in answers] == [str(i) for i in range(3 * CONCURRENT)]
    assert not any(a.error_message for a in answers)
    assert code_of(stream.call) == StatusCode.OK


def test_an_empty_stream_ends_well(stream: Stream) -> None:
    """A stream that is half-closed before its first request gets no answer, and OK."""
    assert stream.half_close() == []
    assert code_of(stream.call) == StatusCode.OK


def test_an_error_ends_its_request_and_not_the_stream(stream: Stream, server: Server) -> None:
    """Each error travels under the id of its request, and those after it are answered."""
    stream.send(pb.ModelInferRequest(model_name="nobody"), "unknown")
    stream.send(pb.ModelInferRequest(model_name="simple"), "malformed")
    stream.send(gather(99), "failing")
    stream.send(simple(5), "good")
    errors = [stream.receive() for _ in range(3)]
    assert [(e.infer_response.id, e.error_message) for e in errors] == [
        ("unknown", "Request for unknown model: 'nobody' is not found"),
        ("malformed", "'simple' needs the input INPUT0, INPUT1 too"),
        ("failing", "internal error; the server's log has the details"),
    ]
    assert errors[0].infer_response.model_name == "nobody"
    assert not any(e.infer_response.outputs for e in errors)
    assert all(e.infer_response.parameters["triton_final_response"].bool_param for e in errors)
    good = stream.receive()
    assert (good.infer_response.id, good.error_message) == ("good", "")
    assert "ModelStreamInfer failed" in server.log.read_text()


def test_a_client_may_have_its_stream_ended_by_an_error(channel: grpc.Channel) -> None:
    """With triton_grpc_error, answers before the error arrive, and then its status code."""
    with Stream(channel, triton_grpc_error="true") as stream:
        stream.send(simple(5), "good")
        stream.send(pb.ModelInferRequest(model_name="nobody"), "unknown")
        stream.send(simple(5), "too late")
        assert stream.receive().infer_response.id == "good"
        with pytest.raises(grpc.RpcError):
            stream.receive()
        assert code_of(stream.call) == StatusCode.NOT_FOUND
        assert stream.call.details() == "Request for unknown model: 'nobody' is not found"


def test_no_empty_answer_follows_the_one_there_is(stream: Stream) -> None:
    """A client that asks for an empty final response gets its one answer, marked as final."""
    message = simple(5)
    message.parameters["triton_enable_empty_final_response"].bool_param = True
    stream.send(message)
    (answer,) = stream.half_close()
    assert answer.infer_response.parameters["triton_final_response"].bool_param
    assert len(answer.infer_response.outputs) == 2


def test_requests_run_side_by_side_and_leave_in_order(slow_server: Server) -> None:
    """The third finds the queue full while the first runs, and is answered after it."""
    with grpc.insecure_channel(slow_server.address) as channel, Stream(channel) as stream:
        stream.send(slow(), "runs")
        stream.send(slow(1), "waits")
        stream.send(slow(1), "refused")
        told = [(a.infer_response.id, a.error_message) for a in stream.half_close()]
    refusal = "the queue is full (1 requests wait)"
    assert told == [("runs", ""), ("waits", ""), ("refused", refusal)]


def test_a_stream_takes_no_more_than_its_share(tmp_path: Path) -> None:
    """However many requests a client sends ahead, the queue holds those of its bound only."""
    policy = f"default_queue_policy {{ max_queue_size: {CONCURRENT - 1} }}"
    models.write(
        tmp_path / "m",
        "slow",
        models.slow(),
        models.ONE_AT_A_TIME + f"dynamic_batching {{ {policy} }}",
    )
    with (
        serving(tmp_path / "m", tmp_path / "log") as server,
        grpc.insecure_channel(server.address) as channel,
        Stream(channel) as stream,
    ):
        stream.send(slow(AGES // 4))
        for _ in range(3 * CONCURRENT):
            stream.send(slow(1))
        answers = stream.half_close()
    assert {answer.error_message for answer in answers} == {""}
    assert len(answers) == 3 * CONCURRENT + 1


def test_cancelling_a_stream_frees_its_place(slow_server: Server) -> None:
    """If a client leaves, its requests leave the queue, and the server can stop at once."""
    with grpc.insecure_channel(slow_server.address) as channel:
        stub = Stub(channel)
        running = until_running(stub, slow(2 * AGES))
        with Stream(channel) as stream:
            while probe(stub) != StatusCode.RESOURCE_EXHAUSTED:
                time.sleep(0.1)  # the server lets go of the probe a little later than its client
                stream.send(slow(1))  # until one of them has the only place
                time.sleep(0.1)  # and is there before the next probe
        freed = next(c for c in map(probe, [stub] * 50) if c != StatusCode.RESOURCE_EXHAUSTED)
        assert freed == StatusCode.DEADLINE_EXCEEDED
        running.cancel()
    assert slow_server.stop() == 0
    assert "Traceback" not in slow_server.log.read_text()


def test_a_stop_ends_streams_that_nobody_closes(slow_server: Server) -> None:
    """On SIGTERM a stream without requests and a watch of the health end, and nothing is logged."""
    with grpc.insecure_channel(slow_server.address) as channel, Stream(channel) as stream:
        stream.send(slow(1))
        stream.receive()
        health: Any = health_pb2_grpc.HealthStub(channel)
        next(health.Watch(health_pb2.HealthCheckRequest()))
        assert slow_server.stop() == 0
    assert "Traceback" not in slow_server.log.read_text()


def test_a_stop_lets_accepted_requests_of_a_stream_finish(slow_server: Server) -> None:
    """On SIGTERM the request at work is answered, a new one on the same stream is not taken."""
    with grpc.insecure_channel(slow_server.address) as channel, Stream(channel) as stream:
        stub = Stub(channel)
        stream.send(slow(3 * AGES), "accepted")
        while probe(stub) != StatusCode.DEADLINE_EXCEEDED:
            pass
        slow_server.process.terminate()
        while stub.ServerReady(pb.ServerReadyRequest()).ready:
            pass
        stream.send(slow(1), "late")
        accepted, late = stream.receive(), stream.receive()
        assert (accepted.infer_response.id, accepted.error_message) == ("accepted", "")
        assert late.infer_response.id == "late"
        assert late.error_message == "'slow' takes no more requests: the server is draining"
    assert slow_server.process.wait(60) == 0
    assert "Traceback" not in slow_server.log.read_text()


def test_a_client_that_leaves_amid_answers_is_no_error(tmp_path: Path) -> None:
    """Streams that end while their answers are written leave no error in the log."""
    models.write(tmp_path / "models", "slow", models.slow(), models.ONE_AT_A_TIME)
    with serving(tmp_path / "models", tmp_path / "log") as running:
        for number in range(40):
            with grpc.insecure_channel(running.address) as channel:
                call = Stub(channel).ModelStreamInfer(iter([slow(3000)] * CONCURRENT))
                time.sleep(number % 10 / 100)  # so that some end in the middle of a write
                call.cancel()
        assert running.stop() == 0
    assert "Traceback" not in (tmp_path / "log").read_text()
