"""Tensors of the protocol in JSON, in the bytes behind it, and in shared memory."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.errors import InvalidRequest
from crossrun_server.rest import json_text
from crossrun_server.rest.predict import values
from crossrun_server.services.parameters import REGION
from crossrun_server.tensors.encoding import from_bytes, to_bytes
from crossrun_server.tensors.tensor_spec import DTYPES, Array, TensorSpec

BINARY_SIZE = "binary_data_size"
LONG = 2**63
KEYS = ("name", "shape", "datatype", "parameters", "data")

Sent = dict[str, Any]
Raw = bytes | memoryview


def add_inputs(
    message: pb.ModelInferRequest, tensors: list[Any], behind: memoryview
) -> Iterator[Raw]:
    """Add inputs to a message, and return the raw contents of those outside shared memory.

    Args:
        message: of the request.
        tensors: the inputs in JSON.
        behind: the bytes behind the JSON, which hold the binary tensors one after the other.

    Raises:
        InvalidRequest: an input is malformed; the message names it.
    """
    at = 0
    for position, sent in enumerate(tensors):
        name = check(sent, f"inputs[{position}]", KEYS)
        given = parameters(sent, f"input {name!r}")
        size = given.pop(BINARY_SIZE, None)
        added = message.inputs.add(name=name, datatype=_datatype(sent), shape=_shape(sent))
        fill(added.parameters, given, f"input {name!r}")
        if size is not None:
            yield _cut(behind, at, size, sent)
            at += size
        elif "data" in sent:
            yield _raw(sent["data"], added)
        elif REGION not in given:
            raise InvalidRequest(
                f"input {name!r} has no 'data', {BINARY_SIZE!r} or {REGION!r} in its parameters"
            )
    if at != len(behind):
        names = ", ".join(tensor.name for tensor in message.inputs)
        raise InvalidRequest(
            f"{len(behind) - at} bytes are left behind the binary tensors of the inputs {names}"
        )


def check(sent: Any, where: str, keys: tuple[str, ...]) -> str:
    """Return the name of a tensor.

    Raises:
        InvalidRequest: it is no object, or has other keys, or no name.
    """
    if not isinstance(sent, dict) or not isinstance(sent.get("name"), str):
        raise InvalidRequest(f"{where} is no object with a 'name'")
    json_text.check_keys(sent, keys)
    return str(sent["name"])


def parameters(sent: Sent, where: str) -> Sent:
    """Return a copy of the parameters of a request or of a tensor.

    Raises:
        InvalidRequest: they are no object.
    """
    found = sent.get("parameters", {})
    if not isinstance(found, dict):
        raise InvalidRequest(f"the 'parameters' of {where} are no object")
    return dict(found)


def fill(fields: Any, given: Sent, where: str) -> None:
    """Put parameters into a message.

    Raises:
        InvalidRequest: one is no text, number or truth.
    """
    for name, value in given.items():
        setattr(fields[name], _field(name, value, where), value)


def _field(name: str, value: Any, where: str) -> str:
    if isinstance(value, int) and not -LONG <= value < 2 * LONG:
        raise InvalidRequest(f"parameter {name!r} of {where} is too large for 64 bits")
    if isinstance(value, bool):
        return "bool_param"
    if isinstance(value, int):
        return "int64_param" if value < LONG else "uint64_param"
    if isinstance(value, float):
        return "double_param"
    if isinstance(value, str):
        return "string_param"
    raise InvalidRequest(
        f"parameter {name!r} of {where} is {value!r:.80}, expected a text, a number, true or false"
    )


def _datatype(sent: Sent) -> str:
    found = sent.get("datatype")
    if not isinstance(found, str):
        raise InvalidRequest(f"input {sent['name']!r} has datatype {found!r:.80}, expected a text")
    return found


def _shape(sent: Sent) -> list[int]:
    found = sent.get("shape")
    if not isinstance(found, list) or not all(type(n) is int and -LONG <= n < LONG for n in found):
        raise InvalidRequest(
            f"input {sent['name']!r} has shape {found!r:.80}, expected a list of whole numbers"
        )
    return found


def _cut(behind: memoryview, at: int, size: Any, sent: Sent) -> memoryview:
    """Return the bytes of a binary tensor."""
    where = f"input {sent['name']!r}"
    if "data" in sent:
        raise InvalidRequest(f"{where} has both 'data' and {BINARY_SIZE!r}")
    if type(size) is not int or size < 0:
        raise InvalidRequest(f"{BINARY_SIZE!r} of {where} is {size!r:.80}, expected 0 or more")
    if at + size > len(behind):
        raise InvalidRequest(
            f"{where} has {size} bytes behind the JSON, but only {len(behind) - at} are there"
        )
    return behind[at : at + size]


def _raw(data: Any, tensor: pb.ModelInferRequest.InferInputTensor) -> bytes:
    """Encode what JSON has of a tensor: nested lists of its shape, or a flat one."""
    if tensor.datatype not in DTYPES:
        return b""  # it is no model's: the service says which one is
    shape = tuple(tensor.shape)
    array = values.tensor(data, TensorSpec(tensor.name, tensor.datatype, shape))
    if array.size != math.prod(shape):
        raise InvalidRequest(
            f"input {tensor.name!r}: {list(shape)} needs {math.prod(shape)} values, "
            f"got {array.size}"
        )
    if array.ndim != 1 and array.shape != shape:
        raise InvalidRequest(
            f"input {tensor.name!r}: the lists have the shape {list(array.shape)}, "
            f"expected {list(shape)} or one flat list"
        )
    return to_bytes(array)


def numbers(tensor: pb.ModelInferResponse.InferOutputTensor, raw: bytes) -> Array:
    """Return the values of an output for JSON, as one flat list; BF16 as the FP32 that it is."""
    found = from_bytes(raw, tensor.datatype, tuple(tensor.shape)).reshape(-1)
    if tensor.datatype == "BF16":
        return (found.astype(np.uint32) << 16).view(np.float32)
    return found
