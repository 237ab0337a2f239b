"""ModelStreamInfer, which no server announces: where it is not there, these are skipped."""

import queue
from collections.abc import Iterator

import grpc
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from tests.conformance.messages import identity, read, simple
from tests.conformance.target import NOBODY, Target, code_of

Request = pb.ModelInferRequest


@pytest.fixture(autouse=True)
def _streams(target: Target) -> None:
    """Skip where ModelStreamInfer is UNIMPLEMENTED."""
    try:
        list(target.stream(iter(())))
    except grpc.RpcError as error:
        if code_of(error) == StatusCode.UNIMPLEMENTED:
            pytest.skip("the target does not implement ModelStreamInfer")
        raise


def bad(identifier: str) -> Request:
    message = simple(5, identifier=identifier)
    message.raw_input_contents[0] = b"short"
    return message


class Outbox:
    """Requests that are sent one by one, while answers come."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self.put = self._waiting.put

    def __iter__(self) -> Iterator[Request]:
        return iter(self._waiting.get, None)


def test_a_stream_of_nothing_ends_well(target: Target) -> None:
    """A caller that sends nothing gets nothing, and no error."""
    assert list(target.stream(iter(()))) == []


def test_answers_come_in_order(target: Target) -> None:
    """Every request is answered once, in the order of the requests, with its own id."""
    target.need("oip_simple")
    answers = list(target.stream(simple(i, identifier=f"id {i}") for i in range(50)))
    assert [answer.error_message for answer in answers] == [""] * 50
    assert [answer.infer_response.id for answer in answers] == [f"id {i}" for i in range(50)]
    firsts = [read(answer.infer_response)["OUTPUT0"].values[0, 0] for answer in answers]
    assert firsts == list(range(1, 51))


def test_an_answer_comes_while_the_stream_is_open(target: Target) -> None:
    """The server answers before the caller has sent everything."""
    target.need("oip_simple")
    outbox = Outbox()
    answers = target.stream(iter(outbox))
    for i in range(5):
        outbox.put(simple(i))
        answer = next(answers)
        assert read(answer.infer_response)["OUTPUT0"].values[0, 0] == i + 1
    outbox.put(None)
    assert list(answers) == []


def test_several_models_in_one_stream(target: Target) -> None:
    """Requests to unlike models and datatypes share a stream."""
    target.need("oip_simple")
    target.need("oip_identity_fp32")
    target.need("oip_identity_bytes")
    requests = [simple(5), identity("FP32", [1.5]), identity("BYTES", [b"parrot"])]
    for number, message in enumerate(requests):
        message.id = str(number)
    answers = {
        answer.infer_response.id: answer.infer_response for answer in target.stream(iter(requests))
    }
    assert read(answers["0"])["OUTPUT1"].values[0, 0] == 4
    assert read(answers["1"])["y"].values.tolist() == [[1.5]]
    assert read(answers["2"])["y"].values.tolist() == [[b"parrot"]]


def test_an_error_leaves_the_stream_open(target: Target) -> None:
    """A bad request is answered by an error message with its id, its neighbours by answers."""
    target.need("oip_simple")
    sent = [simple(1, identifier="a"), bad("b"), simple(2, identifier="c"), bad("d")]
    answers = list(target.stream(iter(sent)))
    assert [answer.infer_response.id for answer in answers] == ["a", "b", "c", "d"]
    assert [bool(answer.error_message) for answer in answers] == [False, True, False, True]
    assert "INPUT0" in answers[1].error_message
    assert not answers[1].infer_response.outputs


def test_an_unknown_model_in_a_stream(target: Target) -> None:
    """An unknown model is an error message that names it, not the end of the stream."""
    target.need("oip_simple")
    lost = simple(1)
    lost.model_name = NOBODY
    first, second = target.stream(iter([lost, simple(1)]))
    assert NOBODY in first.error_message
    assert second.error_message == ""


def test_two_streams_do_not_mix(target: Target) -> None:
    """Streams that are open together each get their own answers."""
    target.need("oip_simple")
    streams = {
        start: target.stream(simple(i, identifier=str(i)) for i in range(start, start + 20))
        for start in (100, 200)
    }
    for start, answers in streams.items():
        found = [answer.infer_response for answer in answers]
        assert [response.id for response in found] == [str(start + i) for i in range(20)]
        sums = [read(response)["OUTPUT0"].values[0, 0] for response in found]
        assert sums == list(range(start + 1, start + 21))


def test_a_stream_that_is_cancelled(target: Target) -> None:
    """A caller who leaves an open stream harms nobody."""
    target.need("oip_simple")
    outbox = Outbox()
    answers = target.stream(iter(outbox))
    outbox.put(simple(5))
    next(answers)
    answers.cancel()
    outbox.put(None)
    assert answers.code() == StatusCode.CANCELLED
    target.check_health()
