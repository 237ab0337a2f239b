"""Reads the parameters of a request, of an input and of an output.

A name that the protocol does not reserve is the caller's own. Triton hands such parameters to
backends that read them; ONNX models do not, so they are ignored here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.errors import InvalidRequest

Parameters = Mapping[str, pb.InferParameter]
Tensor = pb.ModelInferRequest.InferInputTensor | pb.ModelInferRequest.InferRequestedOutputTensor

SEQUENCE = {  # a parameter of sequences → the fields that may hold it
    "sequence_id": ("int64_param", "string_param"),
    "sequence_start": ("bool_param",),
    "sequence_end": ("bool_param",),
}
EMPTY_FINAL = "triton_enable_empty_final_response"
MOST = 128  # parameters of a request
REGION, OFFSET, BYTE_SIZE = (f"shared_memory_{part}" for part in ("region", "offset", "byte_size"))


class MemoryRange(NamedTuple):
    """The part of a shared memory region that holds a tensor; offset and size in bytes."""

    region: str
    offset: int
    byte_size: int


def check(parameters: Parameters) -> None:
    """Refuse parameters that a request may not have.

    Raises:
        InvalidRequest: there are too many; or one is empty, belongs to a sequence, or is reserved
            for Triton.
    """
    if len(parameters) > MOST:
        raise InvalidRequest(
            f"the request has {len(parameters)} parameters, expected {MOST} at most"
        )
    for name in parameters:
        if name in SEQUENCE:
            if _value(parameters, name, *SEQUENCE[name]):
                raise InvalidRequest(f"parameter {name!r}: sequences are not supported")
        elif name == EMPTY_FINAL:  # ignored: no model here sends an empty response
            _value(parameters, name, "bool_param")
        elif parameters[name].WhichOneof("parameter_choice") is None:
            raise InvalidRequest(f"parameter {name!r} is empty")
        elif name.startswith("triton_"):
            raise InvalidRequest(
                "parameter keys starting with 'triton_' are reserved for Triton usage. "
                f"Only the following keys starting with 'triton_' are allowed: {EMPTY_FINAL}; "
                f"got {name!r}"
            )


def priority(parameters: Parameters) -> int:
    """Return the priority that a request asks for; 0 is the model's default.

    Raises:
        InvalidRequest: it is not a whole number of 0 or more.
    """
    return _whole_number(parameters, "priority", ("int64_param", "uint64_param"))


def timeout(parameters: Parameters) -> int:
    """Return how long a request may wait in the queue, in microseconds; 0 if it does not say.

    Raises:
        InvalidRequest: it is not a whole number of 0 or more.
    """
    return _whole_number(parameters, "timeout", ("int64_param",))


def memory_range(tensor: Tensor) -> MemoryRange | None:
    """Find where in shared memory a tensor lies; None if the message carries it.

    Raises:
        InvalidRequest: its shared memory parameters are incomplete or of the wrong type.
    """
    given, owner = tensor.parameters, f"tensor {tensor.name!r}"
    if REGION not in given:
        for name in (OFFSET, BYTE_SIZE):
            if name in given:
                raise InvalidRequest(
                    f"{name!r} can not be specified without {REGION!r} parameter for {owner}"
                )
        return None
    if BYTE_SIZE not in given:
        raise InvalidRequest(
            f"{BYTE_SIZE!r} must be specified along with {REGION!r} parameter for {owner}"
        )
    return MemoryRange(
        _value(given, REGION, "string_param"),
        _value(given, OFFSET, "int64_param") if OFFSET in given else 0,
        _value(given, BYTE_SIZE, "int64_param"),
    )


def class_count(output: pb.ModelInferRequest.InferRequestedOutputTensor) -> int | None:
    """Return how many of its best classes an output is wanted as; None if it is wanted as it is.

    Raises:
        InvalidRequest: the number is not a whole number of 1 or more.
    """
    if "classification" not in output.parameters:
        return None
    count: int = _value(output.parameters, "classification", "int64_param")
    if count < 1:
        raise InvalidRequest(
            f"invalid value for 'classification' parameter of output {output.name!r}: "
            f"{count}, expected >= 1"
        )
    return count


def _whole_number(parameters: Parameters, name: str, kinds: Sequence[str]) -> int:
    if name not in parameters:
        return 0
    number: int = _value(parameters, name, *kinds)
    if number < 0:
        raise InvalidRequest(f"parameter {name!r} is {number}, expected 0 or more")
    return number


def _value(parameters: Parameters, name: str, *kinds: str) -> Any:
    kind = parameters[name].WhichOneof("parameter_choice")
    if kind not in kinds:
        raise InvalidRequest(
            f"invalid value type for {name!r} parameter, expected {' or '.join(kinds)}"
        )
    return getattr(parameters[name], kind)
