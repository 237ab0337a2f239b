"""What a connection has to bear: large tensors, many requests at once, deadlines, cancelling."""

from collections.abc import Callable

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.conformance.messages import Tensor, identity, read, request, simple, tensor
from tests.conformance.target import LIMIT, Target

LARGE = 2_300_000  # elements of four bytes: over 8 MB each way, and twice gRPC's usual limit
TURNS = 400_000  # of `oip_slow`: far longer than the deadlines here, on any machine
PIPELINED = 64


def slow(turns: int) -> pb.ModelInferRequest:
    """Build a request that counts up to `turns`."""
    return request("oip_slow", [tensor("turns", "INT64", [turns], (1,))])


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_large_tensors(target: Target, typed: bool) -> None:
    """More than 8 MB go there and come back unchanged."""
    values = np.random.default_rng(7).random((1, LARGE), np.float32)
    message = request("oip_identity_fp32", [Tensor("x", "FP32", values)], typed=typed)
    answer = target.outputs(message)["y"].values
    assert np.array_equal(answer, values)


def test_many_strings(target: Target) -> None:
    """A hundred thousand strings of unlike length keep their order."""
    strings = [b"s" * (i % 13) + str(i).encode() for i in range(100_000)]
    answer = target.outputs(identity("BYTES", strings))["y"].values
    assert answer.ravel().tolist() == strings


def test_a_compressed_request(target: Target) -> None:
    """A request that gRPC compresses is answered as any other."""
    target.need("oip_identity_fp32")
    message = identity("FP32", [1.5] * 5000)
    response = target.call("ModelInfer", message, compression=grpc.Compression.Gzip)
    assert read(response)["y"].values.tolist() == [[1.5] * 5000]


def test_metadata_of_the_call(target: Target) -> None:
    """Metadata that the server does not know changes nothing."""
    target.need("oip_simple")
    metadata = (("oip-custom", "value"), ("oip-custom-bin", b"\0\xff"))
    response = target.call("ModelInfer", simple(5), metadata=metadata)
    assert read(response)["OUTPUT0"].values[0, 0] == 6


def pipelined(model: str, i: int) -> pb.ModelInferRequest:
    if model == "oip_simple":
        return simple(i, identifier=f"id {i}")
    return request(model, [tensor("x", "FP32", [float(i)])], identifier=f"id {i}")


ANSWERS: dict[str, Callable[[int], tuple[str, float]]] = {
    "oip_simple": lambda i: ("OUTPUT0", i + 1),
    "oip_identity_fp32": lambda i: ("y", i),
}


@pytest.mark.parametrize("model", ANSWERS)
def test_pipelined_requests_do_not_mix(target: Target, model: str) -> None:
    """Each of many requests in flight on one connection gets its own answer and id."""
    calls = [target.future(pipelined(model, i)) for i in range(PIPELINED)]
    for i, call in enumerate(calls):
        response, (name, value) = call.result(), ANSWERS[model](i)
        assert response.id == f"id {i}"
        assert read(response)[name].values.ravel()[0] == value


def test_requests_of_unlike_size_do_not_mix(target: Target) -> None:
    """Requests of one to eight rows in flight together each get their own rows back."""
    calls = [target.future(simple(*range(i, i + 1 + i % 8))) for i in range(PIPELINED)]
    for i, call in enumerate(calls):
        rows = read(call.result())["OUTPUT0"].values[:, 0].tolist()
        assert rows == list(range(i + 1, i + 2 + i % 8))


def test_requests_that_ask_for_unlike_outputs_do_not_mix(target: Target) -> None:
    """Requests in flight together that want different outputs each get those they asked for."""
    wanted = [["OUTPUT0"], ["OUTPUT1"], ["OUTPUT1", "OUTPUT0"]]
    calls = [target.future(simple(i, outputs=wanted[i % 3])) for i in range(PIPELINED)]
    for i, call in enumerate(calls):
        outputs = read(call.result())
        assert set(outputs) == set(wanted[i % 3])
        for name, output in outputs.items():
            assert output.values[0, 0] == (i + 1 if name == "OUTPUT0" else i - 1)


def test_several_connections(target: Target) -> None:
    """Requests from several connections at once each get their own answer."""
    target.need("oip_simple")
    channels = [target.connect() for _ in range(8)]
    calls = [Stub(channel).ModelInfer.future(simple(i), timeout=LIMIT)
             for i, channel in enumerate(channels)]  # fmt: skip
    for i, (call, channel) in enumerate(zip(calls, channels, strict=True)):
        assert read(call.result())["OUTPUT0"].values[0, 0] == i + 1
        channel.close()


def test_a_deadline_far_away_changes_nothing(target: Target) -> None:
    """A request with time to spare is answered."""
    assert read(target.future(simple(5), timeout=LIMIT).result())["OUTPUT0"].values[0, 0] == 6


def test_a_deadline_that_passes(target: Target) -> None:
    """A request whose time runs out ends with DEADLINE_EXCEEDED and holds up nobody else."""
    call = target.future(slow(TURNS), timeout=0.05)
    assert call.code() == StatusCode.DEADLINE_EXCEEDED
    target.check_health()


def test_cancelling(target: Target) -> None:
    """A caller who leaves is CANCELLED; other models answer meanwhile, and its own does after."""
    call = target.future(slow(TURNS))
    assert call.cancel()
    assert call.code() == StatusCode.CANCELLED
    target.check_health()
    assert target.outputs(slow(3))["y"].values.tolist() == [3.0]


def test_cancelling_one_of_many(target: Target) -> None:
    """Those who stay get their answers, whoever leaves beside them."""
    calls = [target.future(simple(i)) for i in range(PIPELINED)]
    for call in calls[::2]:
        call.cancel()
    for i, call in list(enumerate(calls))[1::2]:
        assert read(call.result())["OUTPUT0"].values[0, 0] == i + 1
    target.check_health()


def test_a_connection_that_breaks_off(target: Target) -> None:
    """A client that vanishes with requests in flight leaves the server well."""
    target.need("oip_simple")
    channel = target.connect()
    grpc.channel_ready_future(channel).result(LIMIT)
    for i in range(PIPELINED):
        Stub(channel).ModelInfer.future(simple(i), timeout=LIMIT)
    channel.close()
    target.check_health()
