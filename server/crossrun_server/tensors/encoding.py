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

MOST_STRINGS = 1_000_000  # of a tensor; Python needs some 100 bytes for each


def from_bytes(data: bytes | memoryview, datatype: str, shape: tuple[int, ...]) -> Array:
    """Read a tensor of numbers without copying it, or one of strings.

    Numbers are copied only if they lie at an address that does not suit them.

    Raises:
        ValueError: there are more or fewer bytes than the shape needs.
    """
    check_size(len(data), datatype, shape)
    if datatype == "BYTES":
        return _strings(data, math.prod(shape)).reshape(shape)
    dtype = DTYPES[datatype].newbyteorder("<")
    return np.require(np.frombuffer(data, dtype), requirements=["ALIGNED"]).reshape(shape)


def check_size(size: int, datatype: str, shape: tuple[int, ...]) -> None:
    """Raise ValueError if a tensor of numbers does not have so many bytes."""
    expected = math.prod(shape) * DTYPES[datatype].itemsize
    if datatype != "BYTES" and size != expected:
        raise ValueError(f"{expected} bytes expected for {datatype} {list(shape)}, got {size}")


def _strings(data: bytes | memoryview, count: int) -> Array:
    if count > MOST_STRINGS:
        raise ValueError(f"{count} strings expected, a tensor may have {MOST_STRINGS}")
    strings, at = list[bytes](), 0
    while at < len(data) and len(strings) <= count:
        if at + 4 > len(data):
            raise ValueError("a string's four-byte length is cut off")
        (length,) = struct.unpack_from("<I", data, at)
        at += 4 + length
        if at > len(data):
            raise ValueError(f"a string of {length} bytes runs past the end of the tensor")
        strings.append(bytes(data[at - length : at]))
    if len(strings) != count:
        got = "more" if len(strings) > count else len(strings)
        raise ValueError(f"{count} strings expected, got {got}")
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


def octets(array: Array) -> memoryview:
    """Encode a tensor, without copying numbers."""
    return memoryview(to_bytes(array)) if array.dtype == np.object_ else _octets(array).data


def _octets(array: Array) -> NDArray[np.uint8]:
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return little.reshape(-1).view(np.uint8)
