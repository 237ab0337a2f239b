"""The schedule_policy and parameters extensions: what a request may say beside its tensors."""

from collections.abc import Callable

import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from tests.conformance.messages import read, request, simple, tensor
from tests.conformance.target import Target

schedule = pytest.mark.extension("schedule_policy")
custom = pytest.mark.extension("parameters")
SECOND = 1_000_000  # microseconds
KINDS = {"bool_param": True, "int64_param": -7, "string_param": "a value"}
Build = Callable[[], pb.ModelInferRequest]


def plain() -> pb.ModelInferRequest:
    """Build a request to a model whose requests all have one priority."""
    return simple(5)


def ranked() -> pb.ModelInferRequest:
    """Build a request to a model with two levels of priority."""
    return request("oip_priority", [tensor("x", "FP32", [5.0])])


def check(target: Target, message: pb.ModelInferRequest) -> None:
    """The request is answered as it is without parameters."""
    name, expected = ("y", 5.0) if message.model_name == "oip_priority" else ("OUTPUT0", 6)
    assert read(target.infer(message))[name].values[0, 0] == expected


@schedule
@pytest.mark.parametrize("build", [plain, ranked])
@pytest.mark.parametrize("priority", [0, 1, 2])
@pytest.mark.parametrize("kind", ["int64_param", "uint64_param"])
def test_a_priority_is_accepted(target: Target, build: Build, priority: int, kind: str) -> None:
    """A priority that there is, or 0 for the model's own, changes nothing in the answer."""
    message = build()
    setattr(message.parameters["priority"], kind, priority)
    check(target, message)


@schedule
@pytest.mark.parametrize("build", [plain, ranked])
@pytest.mark.parametrize("timeout", [0, 30 * SECOND])
def test_a_timeout_is_accepted(target: Target, build: Build, timeout: int) -> None:
    """A request with time enough is answered."""
    message = build()
    message.parameters["timeout"].int64_param = timeout
    check(target, message)


@schedule
@pytest.mark.parametrize("name", ["priority", "timeout"])
@pytest.mark.parametrize("kind", ["bool_param", "string_param"])
def test_a_parameter_of_another_kind(target: Target, name: str, kind: str) -> None:
    """Priority and timeout are integers; anything else is refused by name."""
    message = ranked()
    setattr(message.parameters[name], kind, KINDS[kind])
    target.check_refused(message, (name,))


@schedule
def test_a_negative_priority(target: Target) -> None:
    """A priority below zero is refused by name."""
    message = ranked()
    message.parameters["priority"].int64_param = -1
    target.check_refused(message, ("priority",))


@custom
@pytest.mark.parametrize("kind", KINDS)
def test_a_custom_parameter_is_accepted(target: Target, kind: str) -> None:
    """A parameter that the server does not know is handed on, and the request answered."""
    message = plain()
    setattr(message.parameters["oip_custom"], kind, KINDS[kind])
    check(target, message)


@custom
def test_several_custom_parameters(target: Target) -> None:
    """Parameters of every kind go together in one request."""
    message = plain()
    for kind, value in KINDS.items():
        setattr(message.parameters[f"oip_{kind}"], kind, value)
    check(target, message)


@custom
def test_a_custom_parameter_without_a_value(target: Target) -> None:
    """A parameter that is neither bool, integer nor string is refused by name."""
    message = plain()
    message.parameters["oip_empty"].SetInParent()
    code, text = target.refusal("ModelInfer", message)
    assert code == StatusCode.INVALID_ARGUMENT
    assert "oip_empty" in text
    target.check_health()
