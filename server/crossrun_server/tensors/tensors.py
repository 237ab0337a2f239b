"""Tensors as the Open Inference Protocol names and lays them out. Knows no gRPC and no onnxruntime.

BF16, which numpy lacks, is carried as its 16 bits in uint16.
Source: https://github.com/kserve/open-inference-protocol (required API, tensor data).
"""

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": np.dtype(np.uint16),
    "BYTES": np.dtype(np.object_),
}


@dataclass(frozen=True)
class TensorSpec:
    """What a model says of one input or output; -1 in `shape` stands for any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False  # the model has a value of its own where a request gives none
    symbol: str = ""  # what the model's file calls the first size, where that is free
    scalar: bool = False  # of no dimension in the graph, whatever `shape` says to callers

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of this shape fits; [] and [1] both do where it is a single value."""
        if self.scalar or not self.shape:
            return all(size == 1 for size in shape)
        return len(shape) == len(self.shape) and all(
            want in (-1, have) for want, have in zip(self.shape, shape, strict=True)
        )


def from_bytes(data: bytes | memoryview, datatype: str, shape: tuple[int, ...]) -> Array:
    """Read a tensor from its wire form, little-endian and row-major, without copying it.

    A tensor that shared memory holds at an address its dtype cannot be read from is copied.

    Strings (BYTES) are each preceded by their length as four bytes.

    Raises:
        ValueError: the bytes are more or fewer than the shape needs.
    """
    count = math.prod(shape)
    if datatype == "BYTES":
        return _strings(data, count).reshape(shape)
    dtype = DTYPES[datatype].newbyteorder("<")
    expected = count * dtype.itemsize
    if len(data) != expected:
        raise ValueError(f"{expected} bytes expected for {datatype} {list(shape)}, got {len(data)}")
    return np.require(np.frombuffer(data, dtype), requirements=["ALIGNED"]).reshape(shape)


def _strings(data: bytes | memoryview, count: int) -> Array:
    strings, at = [], 0
    while at < len(data):
        if at + 4 > len(data):
            raise ValueError("a string's four-byte length is cut off")
        (length,) = struct.unpack_from("<I", data, at)
        at += 4 + length
        if at > len(data):
            raise ValueError(f"a string of {length} bytes runs past the end of the tensor")
        strings.append(bytes(data[at - length : at]))
    if len(strings) != count:
        raise ValueError(f"{count} strings expected, got {len(strings)}")
    return as_strings(strings)


def as_strings(strings: Sequence[bytes]) -> Array:
    """Put strings into a one-dimensional object array of str.

    Raises:
        ValueError: one is not UTF-8. onnxruntime's Python would take bytes for what `str` makes of
            them, "b'…'", so that nothing but text may get there.
    """
    texts: list[str] = []
    try:
        texts.extend(string.decode() for string in strings)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"a string is not UTF-8: element {len(texts)} has the byte "
            f"{error.object[error.start]:#x} at {error.start}; onnxruntime's Python takes text "
            "only, so a model that is to get bytes, such as an encoded picture, needs a UINT8 input"
        ) from error
    return np.array(texts, np.object_)


def to_bytes(array: Array) -> bytes:
    """Write a tensor in its wire form."""
    if array.dtype != np.object_:
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    encoded = (string.encode() for string in array.ravel())
    return b"".join(struct.pack("<I", len(data)) + data for data in encoded)


def write(array: Array, memory: memoryview) -> int:
    """Write a tensor's wire form at the start of `memory`; gives its size in bytes.

    Raises:
        ValueError: it does not fit; nothing was written.
    """
    data = memoryview(to_bytes(array)) if array.dtype == np.object_ else _octets(array).data
    if len(data) > len(memory):
        raise ValueError(f"{len(memory)} bytes should be at least {len(data)} to hold the results")
    memory[: len(data)] = data
    return len(data)


def _octets(array: Array) -> NDArray[np.uint8]:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return little.reshape(-1).view(np.uint8)
