"""Tensors as bytes, in the layout of the Open Inference Protocol. Knows no messages.

Numbers are little-endian and row-major; each string (BYTES) follows its length in four bytes.
Source: https://github.com/kserve/open-inference-protocol (tensor data).
"""

import math
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossrun_server.tensors.tensor_spec import DTYPES, Array


def from_bytes(data: bytes | memoryview, datatype: str, shape: tuple[int, ...]) -> Array:
    """Read a tensor of numbers without copying it, or one of strings.

    Numbers are copied only if they lie in shared memory at an address that does not suit them.

    Raises:
        ValueError: there are more or fewer bytes than the shape needs.
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

    Only text may get there: onnxruntime's Python turns bytes into text with `str`, as "b'…'".

    Raises:
        ValueError: a string is not UTF-8.
    """
    texts: list[str] = []
    try:
        texts.extend(string.decode() for string in strings)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"a string is not UTF-8: element {len(texts)} has the byte "
            f"{error.object[error.start]:#x} at {error.start}; onnxruntime's Python takes only "
            "text, so a model that needs bytes, such as an encoded picture, needs a UINT8 input"
        ) from error
    return np.array(texts, np.object_)


def to_bytes(array: Array) -> bytes:
    """Encode a tensor."""
    if array.dtype != np.object_:
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    encoded = (string.encode() for string in array.ravel())
    return b"".join(struct.pack("<I", len(data)) + data for data in encoded)


def write(array: Array, memory: memoryview) -> int:
    """Write an encoded tensor to the start of `memory`, and return its size in bytes.

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
