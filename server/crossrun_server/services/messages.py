"""Open Inference Protocol messages to arrays and back. Knows no models beyond their specs."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.errors import InvalidRequest
from crossrun_server.tensors import DTYPES, Array, TensorSpec, as_strings, from_bytes, to_bytes

# The field of InferTensorContents for each datatype; FP16 and BF16 travel raw only.
CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
# What would change the answer if it were passed over; each has a message of its own kind.
UNSUPPORTED = {
    "shared_memory_region": "shared memory",
    "classification": "the classification extension",
    "sequence_id": "sequences",
}


def read_inputs(
    request: pb.ModelInferRequest, find: Callable[[str], TensorSpec]
) -> dict[str, Array]:
    """Decode all inputs of a request, raw or typed.

    Args:
        request: the message.
        find: gives the spec of an input by name, or raises InvalidRequest.

    Raises:
        InvalidRequest: a tensor is malformed; the message names it and what was expected.
    """
    _refuse_unsupported(request.parameters)
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise InvalidRequest(
            f"raw_input_contents has {len(raw)} entries for {len(request.inputs)} inputs"
        )
    arrays: dict[str, Array] = {}
    for position, tensor in enumerate(request.inputs):
        if tensor.name in arrays:
            raise InvalidRequest(f"input {tensor.name!r} is given twice")
        shape = _check(tensor, find(tensor.name))
        if raw and tensor.HasField("contents"):
            raise InvalidRequest(f"input {tensor.name!r} is given both raw and typed")
        try:
            arrays[tensor.name] = (
                from_bytes(raw[position], tensor.datatype, shape) if raw else _typed(tensor, shape)
            )
        except (ValueError, OverflowError) as error:
            raise InvalidRequest(f"input {tensor.name!r}: {error}") from None
    return arrays


def read_outputs(request: pb.ModelInferRequest) -> list[str]:
    """Name the outputs that a request asks for; none asked for is an empty list."""
    for output in request.outputs:
        _refuse_unsupported(output.parameters)
    return [output.name for output in request.outputs]


def write_outputs(
    response: pb.ModelInferResponse, outputs: Mapping[str, Array], specs: Mapping[str, TensorSpec]
) -> None:
    """Put arrays into a response, raw, as Triton does."""
    for name, array in outputs.items():
        response.outputs.add(name=name, datatype=specs[name].datatype, shape=array.shape)
        response.raw_output_contents.append(to_bytes(array))


def _refuse_unsupported(parameters: Mapping[str, pb.InferParameter]) -> None:
    for name in parameters:
        if name in UNSUPPORTED:
            raise InvalidRequest(f"parameter {name!r}: {UNSUPPORTED[name]} not supported")


def _check(tensor: pb.ModelInferRequest.InferInputTensor, spec: TensorSpec) -> tuple[int, ...]:
    _refuse_unsupported(tensor.parameters)
    if tensor.datatype != spec.datatype:
        raise InvalidRequest(
            f"input {tensor.name!r} has datatype {tensor.datatype!r}, expected {spec.datatype}"
        )
    shape = tuple(tensor.shape)
    if not spec.accepts(shape) or min(shape, default=0) < 0:
        raise InvalidRequest(
            f"input {tensor.name!r} has shape {list(shape)}, expected {list(spec.shape)}"
        )
    return shape


def _typed(tensor: pb.ModelInferRequest.InferInputTensor, shape: tuple[int, ...]) -> Array:
    if tensor.datatype not in CONTENTS:
        raise ValueError(f"{tensor.datatype} has no typed form, expected raw_input_contents")
    expected = CONTENTS[tensor.datatype]
    for field, _ in tensor.contents.ListFields():
        if field.name != expected:
            raise ValueError(f"{tensor.datatype} comes in {expected}, got {field.name}")
    values = getattr(tensor.contents, expected)
    if len(values) != math.prod(shape):
        raise ValueError(f"{list(shape)} needs {math.prod(shape)} values, got {len(values)}")
    if tensor.datatype == "BYTES":
        return as_strings(values).reshape(shape)
    return np.array(list(values), DTYPES[tensor.datatype]).reshape(shape)
