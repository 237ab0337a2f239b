"""More requests than a model can answer: who is refused, with what, and who is not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
from grpc import StatusCode
from PIL import Image

from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.v1 import vision_pb2
from crossrun.v1.vision_pb2_grpc import VisionStub
from tests.support import models
from tests.support.pictures import encoded
from tests.support.requests import AGES, code_of, slow
from tests.support.running import Server, serving
from tests.support.telemetry import samples, until_pending

KNOWN = AGES // 5  # turns of the runs by which the server knows how long one takes
SHORT = AGES // 100
PUSHBACK = "grpc-retry-pushback-ms"
LARGE = encoded(Image.new("RGB", (3000, 3000), (255, 0, 0)))  # decoding it takes a while


class Busy(NamedTuple):
    """A server whose model is at work for long, and whose runs take a known time."""

    stub: Stub
    seconds: float  # of a run of KNOWN turns


def own_channel(server: Server, policy: str = "{}") -> grpc.Channel:
    """A channel with a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.service_config", policy)]
    return grpc.insecure_channel(server.address, options)


def until_one_waits(server: Server, stub: Stub, model: str) -> Any:
    """Send a request again and again until it finds the model at work."""
    while True:
        waiting = stub.ModelInfer.future(slow(KNOWN, model))
        while not waiting.done():
            if sum(samples(server, "nv_inference_pending_request_count")) == 1:
                return waiting


@pytest.fixture(scope="module")
def impatient(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose requests wait for one other, and no more."""
    folder = tmp_path_factory.mktemp("impatient")
    models.write(folder / "m", "slow", models.slow(), models.ONE_AT_A_TIME)
    models.write(folder / "m", "busy", models.slow(), models.ONE_AT_A_TIME)
    models.write(folder / "m", "colours", models.colours(), "max_batch_size: 4")
    options = ("--front", front, "--max-queue-wait-ms", "1")
    with serving(folder / "m", folder / "log", *options) as server:
        yield server


@pytest.fixture(scope="module")
def busy(impatient: Server) -> Iterator[Busy]:
    """Others would wait for as long as a run takes, because a request waits already."""
    with grpc.insecure_channel(impatient.address) as channel:
        stub = Stub(channel)
        _, call = stub.ModelInfer.with_call(slow(KNOWN, "busy"))
        running = stub.ModelInfer.future(slow(100 * AGES, "busy"))
        waiting = until_one_waits(impatient, stub, "busy")
        yield Busy(stub, computed(call))
        assert not waiting.done()
        running.cancel()


def computed(call: Any) -> float:
    """How long a run took, in seconds, by the server's own account."""
    timing: str = dict(call.trailing_metadata())["server-timing"]
    return float(timing.partition("compute;dur=")[2]) / 1e3


def pushback(call: Any) -> float:
    """After how many seconds a refusal says that one may try again."""
    return int(dict(call.trailing_metadata())[PUSHBACK]) / 1e3


def test_a_stock_client_tries_again_when_it_is_told_to(impatient: Server) -> None:
    """Of three that come at once one is refused, and all are answered."""
    policy = """{ "methodConfig": [{ "name": [{}], "retryPolicy": {
        "maxAttempts": 5, "initialBackoff": "60s", "maxBackoff": "60s", "backoffMultiplier": 1,
        "retryableStatusCodes": ["RESOURCE_EXHAUSTED"] } }] }"""
    with own_channel(impatient, policy) as channel:
        infer = Stub(channel).ModelInfer
        infer(slow(SHORT))
        while not sum(samples(impatient, "nv_inference_request_failure", reason="REJECTED")):
            calls = [infer.future(slow(SHORT)) for _ in range(3)]
            assert [code_of(call) for call in calls] == [StatusCode.OK] * 3


def test_a_stream_waits_for_itself(impatient: Server) -> None:
    """Its requests are more than the queue takes, and none of them is refused."""
    with own_channel(impatient) as channel:
        Stub(channel).ModelInfer(slow(SHORT))
        stream: Any = Stub(channel).ModelStreamInfer(iter([slow(SHORT)] * 20))
        assert [answer.error_message for answer in stream] == [""] * 20


@pytest.mark.parametrize("pictures", [1, 2])
def test_pictures_are_not_decoded_for_who_would_wait_too_long(
    impatient: Server, pictures: int
) -> None:
    """RESOURCE_EXHAUSTED with the time after which to try again, while those before are decoded."""
    request = vision_pb2.ClassifyRequest(model="colours", images=[LARGE] * pictures)
    with own_channel(impatient) as channel:
        classify = VisionStub(channel).Classify
        classify(request)
        calls: list[Any] = []
        while StatusCode.RESOURCE_EXHAUSTED not in [call.code() for call in calls if call.done()]:
            calls.append(classify.future(request))
        refused = [call for call in calls if code_of(call) != StatusCode.OK]
        assert {code_of(call) for call in refused} == {StatusCode.RESOURCE_EXHAUSTED}
        assert all(0 < pushback(call) < 60 for call in refused)
        assert len(refused) < len(calls)


@pytest.mark.parametrize("road", ["unary", "stream"])
def test_connections_take_turns(front: str, road: str, tmp_path: Path) -> None:
    """One that asks once is answered among the first of another that has asked ten times."""
    models.write(tmp_path / "m", "slow", models.slow(), models.ONE_AT_A_TIME)
    order: list[str] = []
    with (
        serving(tmp_path / "m", tmp_path / "log", "--front", front) as server,
        own_channel(server) as many,
        own_channel(server) as one,
    ):
        running = Stub(many).ModelInfer.future(slow(AGES))
        until_one_waits(server, Stub(many), "slow").cancel()
        until_pending(server, 0)
        calls = [flooding(many, order) for _ in range(10)]
        until_pending(server, 10)
        if road == "unary":
            calls.append(Stub(one).ModelInfer.future(slow(SHORT)))
            calls[-1].add_done_callback(lambda _: order.append("one"))
        else:
            stream: Any = Stub(one).ModelStreamInfer(iter([slow(SHORT)]))
            assert not next(stream).error_message
            order.append("one")
        assert {code_of(call) for call in [running, *calls]} == {StatusCode.OK}
    assert order.index("one") < 5


def flooding(channel: grpc.Channel, order: list[str]) -> Any:
    call = Stub(channel).ModelInfer.future(slow(SHORT))
    call.add_done_callback(lambda _: order.append("many"))
    return call


def test_who_would_wait_too_long_is_refused_at_once(busy: Busy) -> None:
    """RESOURCE_EXHAUSTED says how long it would be, and after which time to try again."""
    call = busy.stub.ModelInfer.future(slow(1, "busy"))
    assert call.code() == StatusCode.RESOURCE_EXHAUSTED
    assert "expected 1 ms at most (--max-queue-wait-ms)" in call.details()
    assert 0 < pushback(call) < 2 * busy.seconds


def test_who_would_be_late_for_others_sake_is_refused_at_once(busy: Busy) -> None:
    """The deadline leaves time for a run, and none for those before it."""
    call = busy.stub.ModelInfer.future(slow(1, "busy"), timeout=1.5 * busy.seconds)
    assert call.code() == StatusCode.RESOURCE_EXHAUSTED
    assert "and its deadline is in" in call.details()
    assert 0 < pushback(call) < 2 * busy.seconds


def test_who_has_no_time_for_a_run_is_told_so_at_once(busy: Busy) -> None:
    """DEADLINE_EXCEEDED by the server, before the deadline; to try again would not help."""
    call = busy.stub.ModelInfer.future(slow(1, "busy"), timeout=0.5 * busy.seconds)
    assert call.code() == StatusCode.DEADLINE_EXCEEDED
    assert "and the model runs for" in call.details()
    assert PUSHBACK not in dict(call.trailing_metadata())


def test_a_stream_is_refused_if_nothing_of_it_is_let_in(busy: Busy) -> None:
    """Others have filled the queue: each of its requests is told so, and the stream goes on."""
    stream: Any = busy.stub.ModelStreamInfer(iter([slow(1, "busy")] * 3))
    told = [answer.error_message for answer in stream]
    assert ["--max-queue-wait-ms" in text for text in told] == [True] * 3
