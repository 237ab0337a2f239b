"""Converts messages of the Open Inference Protocol to arrays and back.

A tensor may be raw, typed or in shared memory; an output may be asked for as its best classes.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.errors import InvalidRequest
from crossrun_server.models.model import Model
from crossrun_server.services import parameters
from crossrun_server.services.parameters import MemoryRange
from crossrun_server.services.wire import PlainRequest, WireRequest
from crossrun_server.tensors.classification import classify
from crossrun_server.tensors.encoding import as_strings, check_size, from_bytes, octets, to_bytes
from crossrun_server.tensors.shared_memory import Part, Regions
from crossrun_server.tensors.tensor_spec import DTYPES, Array, TensorSpec

# The field of InferTensorContents for each datatype; FP16 and BF16 have none, they are always raw.
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


MOST_DIMS = 64  # numpy's
PIECE = 50_000  # numbers; others have their turn after each

Tensor = pb.ModelInferRequest.InferInputTensor


class RequestedOutput(NamedTuple):
    """How a request wants an output: as it is, in shared memory, or as its best classes."""

    shared: MemoryRange | None = None
    memory: Part | None = None  # of this range
    classes: int | None = None


def read_inputs(
    request: WireRequest, find: Callable[[str], TensorSpec], regions: Regions
) -> dict[str, Array]:
    """Decode all inputs of a request.

    Args:
        request: the message and its raw tensors.
        find: returns the spec of an input by name, or raises InvalidRequest.
        regions: the shared memory that clients have registered.

    Raises:
        InvalidRequest: a tensor is malformed; the message names it and what was expected.
        UnknownRegion, NotEnabled: see Regions.part.
    """
    message = request.message
    parameters.check(message.parameters)
    _check_names(message.inputs, find, "input {!r} is given twice")
    ranges = [parameters.memory_range(tensor) for tensor in message.inputs]
    raw = _raw(request, [t for t, shared in zip(message.inputs, ranges, strict=True) if not shared])
    arrays: dict[str, Array] = {}
    for tensor, shared in zip(message.inputs, ranges, strict=True):
        shape = _shape(tensor)
        _check(tensor.name, tensor.datatype, shape, find(tensor.name))
        part = regions.part(*shared) if shared else None
        if part and tensor.HasField("contents"):
            raise InvalidRequest(f"input {tensor.name!r} is given both in shared memory and typed")
        try:
            data = _shared(part, tensor.datatype, shape) if part else next(raw, None)
            arrays[tensor.name] = (
                _typed(tensor, shape) if data is None else from_bytes(data, tensor.datatype, shape)
            )
        except (ValueError, OverflowError) as error:
            raise InvalidRequest(f"input {tensor.name!r}: {error}") from None
    return arrays


def read_plain_inputs(request: PlainRequest, find: Callable[[str], TensorSpec]) -> dict[str, Array]:
    """Decode the inputs of a plain request, without copying them.

    Raises:
        InvalidRequest: as `read_inputs`.
    """
    arrays: dict[str, Array] = {}
    for name, datatype, shape, begin, end in request.inputs:
        _check(name, datatype, shape, find(name))
        try:
            arrays[name] = from_bytes(request.data[begin:end], datatype, shape)
        except ValueError as error:
            raise InvalidRequest(f"input {name!r}: {error}") from None
    return arrays


def read_outputs(
    request: pb.ModelInferRequest, find: Callable[[str], TensorSpec], regions: Regions
) -> dict[str, RequestedOutput]:
    """Find which outputs a request asks for, and how; empty if it names none.

    Raises:
        InvalidRequest: an output is unknown, or asked for twice, or in two ways that exclude each
            other.
        UnknownRegion, NotEnabled: see Regions.part.
    """
    _check_names(request.outputs, find, "output {!r} is asked for twice")
    wanted: dict[str, RequestedOutput] = {}
    for output in request.outputs:
        shared, classes = parameters.memory_range(output), parameters.class_count(output)
        if shared and classes:
            raise InvalidRequest(
                f"output {output.name!r} can't set both {parameters.REGION!r} and 'classification'"
            )
        wanted[output.name] = RequestedOutput(
            shared, regions.part(*shared) if shared else None, classes
        )
    return wanted


def write_outputs(
    response: pb.ModelInferResponse,
    outputs: Mapping[str, Array],
    wanted: Mapping[str, RequestedOutput],
    model: Model,
) -> None:
    """Put a model's outputs into a response, raw, as Triton does.

    Clients find an output's raw entry by its position, so every output has an entry. The entry
    of an output in shared memory is empty; its parameters say where it lies and how large it is.

    Raises:
        InvalidRequest: an output does not fit its shared memory, or has no classes.
    """
    for name, array in outputs.items():
        how = wanted.get(name, RequestedOutput())
        if how.shared and how.memory is not None:
            _add(response, name, model.outputs[name].datatype, array.shape, b"")
            _share(array, how.shared, how.memory, response.outputs[-1])
        elif how.classes:
            strings = _classes(model, name, array, how.classes)
            _add(response, name, "BYTES", strings.shape, to_bytes(strings))
        else:
            _add(response, name, model.outputs[name].datatype, array.shape, to_bytes(array))


def _add(
    response: pb.ModelInferResponse, name: str, datatype: str, shape: tuple[int, ...], raw: bytes
) -> None:
    response.outputs.add(name=name, datatype=datatype, shape=shape)
    response.raw_output_contents.append(raw)


def _share(
    array: Array,
    shared: MemoryRange,
    memory: Part,
    output: pb.ModelInferResponse.InferOutputTensor,
) -> None:
    data = octets(array)
    try:
        memory.write(data)
    except ValueError as error:
        raise InvalidRequest(
            f"shared memory size specified with the request for output {output.name!r}: {error}"
        ) from None
    output.parameters[parameters.REGION].string_param = shared.region
    output.parameters[parameters.OFFSET].int64_param = shared.offset
    output.parameters[parameters.BYTE_SIZE].int64_param = len(data)


def _classes(model: Model, name: str, array: Array, count: int) -> Array:
    batched = model.config.max_batch_size > 0
    labels = model.names(name, array.shape[batched:])
    try:
        return classify(array, model.outputs[name].datatype, count, batched=batched, labels=labels)
    except InvalidRequest as error:
        raise InvalidRequest(f"output {name!r}: {error}") from None


def _check_names(
    tensors: Iterable[parameters.Tensor], find: Callable[[str], TensorSpec], twice: str
) -> None:
    """Let no name come twice, nor one that is unknown: so there are no more than the model has."""
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise InvalidRequest(twice.format(tensor.name))
        find(tensor.name)
        seen.add(tensor.name)


def _raw(request: WireRequest, outside: Sequence[Tensor]) -> Iterator[bytes | memoryview]:
    """Iterate over the raw contents: one for each input outside shared memory, in their order."""
    message, raw, _ = request
    if raw and (typed := [tensor.name for tensor in outside if tensor.HasField("contents")]):
        raise InvalidRequest(  # word for word as Triton says it, because its clients look for this
            "contents field must not be specified when using raw_input_contents for "
            f"{typed[0]!r} for model {message.model_name!r}"
        )
    if raw and len(raw) != len(outside):
        where = " outside shared memory" if len(outside) < len(message.inputs) else ""
        raise InvalidRequest(
            f"raw_input_contents has {len(raw)} entries for {len(outside)} inputs{where}"
        )
    return iter(raw)


def _shape(tensor: Tensor) -> tuple[int, ...]:
    if len(tensor.shape) > MOST_DIMS:
        raise InvalidRequest(
            f"input {tensor.name!r} has {len(tensor.shape)} sizes in its shape, "
            f"expected {MOST_DIMS} at most"
        )
    return tuple(tensor.shape)


def _check(name: str, datatype: str, shape: tuple[int, ...], spec: TensorSpec) -> None:
    if datatype != spec.datatype:
        raise InvalidRequest(f"input {name!r} has datatype {datatype!r}, expected {spec.datatype}")
    if not spec.accepts(shape) or min(shape, default=0) < 0:
        raise InvalidRequest(f"input {name!r} has shape {list(shape)}, expected {list(spec.shape)}")


def _shared(part: Part, datatype: str, shape: tuple[int, ...]) -> memoryview:
    check_size(part.byte_size, datatype, shape)
    return part.read()


def _typed(tensor: Tensor, shape: tuple[int, ...]) -> Array:
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
    return numbers(values, DTYPES[tensor.datatype]).reshape(shape)


def numbers(values: Sequence[float], dtype: np.dtype[Any]) -> Array:
    """Make an array [values] of a list; OverflowError if one is none of that dtype."""
    array = np.empty(len(values), dtype)
    for at in range(0, len(values), PIECE):
        array[at : at + PIECE] = values[at : at + PIECE]
    return array
