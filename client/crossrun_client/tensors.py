"""Tensors of the Open Inference Protocol: random ones to ask, and answers as arrays."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_client.errors import ClientError

Array = NDArray[Any]

_NUMPY = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1",
    "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
    "BF16": "<u2", "BYTES": "u1",
}  # fmt: skip
_BELOW = {"BOOL": 2, "UINT8": 256}  # others below ten, for they may be positions


def request(
    model: str, inputs: Iterable[Any], seed: int, free: int, version: str = ""
) -> pb.ModelInferRequest:
    """Make a request of one row with random tensors.

    Args:
        model: its name.
        inputs: what it takes, as ModelMetadata tells it.
        seed: chooses the numbers: floats from 0 to 1, whole ones from 0 on.
        free: replaces sizes that are free, but for the first.
        version: of the model.
    """
    draw = np.random.default_rng(seed)
    message = pb.ModelInferRequest(model_name=model, model_version=version)
    for one in inputs:
        sizes = (size if size >= 0 else 1 if at == 0 else free for at, size in enumerate(one.shape))
        shape = tuple(sizes)
        message.inputs.add(name=one.name, datatype=one.datatype, shape=shape)
        message.raw_input_contents.append(_random(draw, one.datatype, shape))
    return message


def answers(reply: pb.ModelInferResponse) -> dict[str, Array]:
    """Return the outputs by name, as float64; of strings their bytes.

    Raises:
        ClientError: they are not raw, or of a type that nobody knows.
    """
    if len(reply.raw_output_contents) != len(reply.outputs):
        raise ClientError("the server answers in typed tensors; expected raw_output_contents")
    pairs = zip(reply.outputs, reply.raw_output_contents, strict=True)
    return {one.name: _array(one.datatype, one.shape, raw) for one, raw in pairs}


def largest(arrays: Mapping[str, Array]) -> float:
    """Return the largest finite number of all outputs, without its sign."""
    every = np.concatenate([np.abs(array).ravel() for array in arrays.values()] or [np.zeros(1)])
    return float(np.max(every[np.isfinite(every)], initial=0.0))


def _random(draw: np.random.Generator, datatype: str, shape: tuple[int, ...]) -> bytes:
    if datatype == "BYTES":
        count = int(np.prod(shape))
        digits = draw.integers(0, 10, count)
        return b"".join(b"\1\0\0\0" + str(digit).encode() for digit in digits)
    if datatype not in _NUMPY:
        raise ClientError(f"the model takes {datatype}, which is not known here")
    if datatype == "BF16":  # the upper half of a float32
        bits = draw.uniform(0, 1, shape).astype("<f4").view("<u4") >> 16
        return bits.astype("<u2").tobytes()
    kind = np.dtype(_NUMPY[datatype])
    if kind.kind == "f":
        return draw.uniform(0, 1, shape).astype(kind).tobytes()
    return draw.integers(0, _BELOW.get(datatype, 10), shape).astype(kind).tobytes()


def _array(datatype: str, shape: Iterable[int], raw: bytes) -> Array:
    if datatype not in _NUMPY:
        raise ClientError(f"the model returns {datatype}, which is not known here")
    flat = np.frombuffer(raw, _NUMPY[datatype])
    if datatype == "BYTES":
        return flat.astype(np.float64)
    if datatype == "BF16":
        flat = (flat.astype("<u4") << 16).view("<f4")
    return flat.astype(np.float64).reshape(tuple(shape))
