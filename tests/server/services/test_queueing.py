"""Priorities and queue timeouts of requests, against a real server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support import models
from tests.support.requests import code_of, refusal, simple, slow, until_running
from tests.support.running import Command, serving

LEVELS = """dynamic_batching {
  priority_levels: 2 default_priority_level: 2
  default_queue_policy { max_queue_size: 1 }
}"""
SHORT = "dynamic_batching { default_queue_policy { default_timeout_microseconds: 100000 %s } }"


@contextmanager
def serving_slow(folder: Path, config: str) -> Iterator[Stub]:
    """A server of one slow model that waits by this config, its only instance busy."""
    models.write(folder / "models", "slow", models.slow(), models.ONE_AT_A_TIME + config)
    with (
        serving(folder / "models", folder / "log") as running,
        grpc.insecure_channel(running.address) as channel,
    ):
        stub = Stub(channel)
        busy = until_running(stub)
        yield stub
        busy.cancel()


def with_parameters(message: pb.ModelInferRequest, **parameters: int) -> pb.ModelInferRequest:
    for name, value in parameters.items():
        message.parameters[name].int64_param = value
    return message


def until_waiting(stub: Stub, message: pb.ModelInferRequest) -> Any:
    """Send a request and come back once it fills its queue, which holds one.

    It is sent again if the queue still holds one whose caller has left a moment ago. Two probes are
    refused one after the other: the answer to the first may overtake that to the request.
    """
    while True:
        call = stub.ModelInfer.future(message)
        while not call.done():
            probes = {code_of(stub.ModelInfer.future(message, timeout=0.2)) for _ in range(2)}
            if probes == {StatusCode.RESOURCE_EXHAUSTED} and not call.done():
                return call
        assert call.code() == StatusCode.RESOURCE_EXHAUSTED


def waited(call: Any) -> float:
    """How long a request waited, in milliseconds, by its own account."""
    timing: str = dict(call.trailing_metadata())["server-timing"]
    return float(timing.partition("queue;dur=")[2].partition(",")[0])


def test_a_higher_priority_overtakes(tmp_path: Path) -> None:
    """A request of priority 1 that came after one of priority 2, in a full queue, runs first."""
    with serving_slow(tmp_path, LEVELS) as stub:
        low = until_waiting(stub, slow(1))
        refused = stub.ModelInfer.future(slow(1))
        assert refused.code() == StatusCode.RESOURCE_EXHAUSTED
        assert refused.details() == "the queue of priority 2 is full (1 requests wait)"
        high = until_waiting(stub, with_parameters(slow(1), priority=1))
        assert (code_of(low), code_of(high)) == (StatusCode.OK, StatusCode.OK)
        assert waited(low) > waited(high)  # it came earlier, so it also ran later


@pytest.mark.parametrize(
    ("policy", "told"),
    [("", (100_000, 100_000)), ("allow_timeout_override: true", (1000, 100_000))],
)
def test_waiting_too_long_in_the_queue_is_refused(
    policy: str, told: tuple[int, int], tmp_path: Path
) -> None:
    """DEADLINE_EXCEEDED names the timeout: the queue's, or the request's where that may count."""
    with serving_slow(tmp_path, SHORT % policy) as stub:
        sent = [with_parameters(slow(1), timeout=asked) for asked in (1000, 10**9)]
        calls = [stub.ModelInfer.future(message) for message in sent]
        for call, timeout in zip(calls, told, strict=True):
            assert call.code() == StatusCode.DEADLINE_EXCEEDED
            late = f"the request waited longer than the queue's timeout of {timeout} microseconds"
            assert call.details() == late


def test_a_timeout_counts_for_nothing_where_the_queue_has_none(tmp_path: Path) -> None:
    """Without a policy that allows it a request waits as long as it takes."""
    with serving_slow(tmp_path, LEVELS) as stub:
        call = until_waiting(stub, with_parameters(slow(1), timeout=1))
        assert code_of(call) == StatusCode.OK


@pytest.mark.parametrize("kind", ["int64_param", "uint64_param"])
def test_priorities_are_taken_where_there_are_no_levels(kind: str, channel: grpc.Channel) -> None:
    """A model without levels, or with no batching at all, answers as if nothing had been said."""
    scalar = pb.ModelInferRequest(model_name="scalar", raw_input_contents=[bytes(4)])
    scalar.inputs.add(name="x", datatype="FP32")
    for message in (simple(5), scalar):
        setattr(message.parameters["priority"], kind, 7)
        message.parameters["timeout"].int64_param = 1
        assert Stub(channel).ModelInfer(message).outputs


@pytest.mark.parametrize(
    ("name", "kind", "value", "expected"),
    [
        ("priority", "string_param", "1",
         "parameter, expected int64_param or uint64_param"),
        ("priority", "bool_param", True, "parameter, expected int64_param or"),
        ("priority", "int64_param", -1, "is -1, expected 0 or more"),
        ("timeout", "double_param", 1.0, "parameter, expected int64_param"),
        ("timeout", "uint64_param", 1, "parameter, expected int64_param"),
        ("timeout", "int64_param", -5, "is -5, expected 0 or more"),
    ],
)  # fmt: skip
def test_a_parameter_of_the_wrong_kind_is_named(
    name: str, kind: str, value: object, expected: str, channel: grpc.Channel
) -> None:
    """A priority or timeout that is not a whole number of 0 or more is INVALID_ARGUMENT."""
    message = simple(5)
    setattr(message.parameters[name], kind, value)
    code, details = refusal(Stub(channel).ModelInfer, message)
    assert code == StatusCode.INVALID_ARGUMENT
    assert f"'{name}'" in details
    assert expected in details


def test_an_empty_parameter_is_named(channel: grpc.Channel) -> None:
    """An empty parameter is refused, not read as 0."""
    message = simple(5)
    message.parameters["timeout"].Clear()
    assert refusal(Stub(channel).ModelInfer, message)[1] == "parameter 'timeout' is empty"


def test_the_extension_is_announced(channel: grpc.Channel) -> None:
    """Clients see that priorities and timeouts are understood."""
    metadata = Stub(channel).ServerMetadata(pb.ServerMetadataRequest())
    assert "schedule_policy" in metadata.extensions


def test_a_contradiction_in_the_config_stops_the_start(tmp_path: Path, run: Command) -> None:
    """One line names the model, the field and what was expected."""
    models.write(
        tmp_path,
        "slow",
        models.slow(),
        models.ONE_AT_A_TIME + "dynamic_batching { priority_levels: 2 }",
    )
    ended = run("crossrun-serve", tmp_path, "--port", 0)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "crossrun-serve: failed to load 'slow': version 1: dynamic_batching.default_priority_level "
        "is 0, expected 1 to priority_levels, 2"
    )
