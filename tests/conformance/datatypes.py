"""The datatypes of the protocol, and values at the edges of what each holds. Knows no gRPC.

BF16, which numpy lacks, is carried as its 16 bits in uint16.
Source: https://github.com/kserve/open-inference-protocol (tensor data types); BF16 is Triton's.
"""

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

NUMPY: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BF16": np.dtype("<u2"),
    "BYTES": np.dtype(np.object_),
}
# The field of InferTensorContents that holds a datatype; the protocol has none for FP16 and BF16.
TYPED = {
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


def _integers(datatype: str) -> dict[str, object]:
    info = np.iinfo(NUMPY[datatype])
    edges: dict[str, object] = {"min": int(info.min), "zero": 0, "one": 1, "max": int(info.max)}
    return edges | ({"minus-one": -1} if info.min else {})


def _floats(datatype: str) -> dict[str, object]:
    info = np.finfo(NUMPY[datatype])
    return {
        "min": float(info.min),
        "max": float(info.max),
        "smallest": float(info.smallest_normal),
        "denormal": float(info.smallest_subnormal),
        "minus-zero": -0.0,
        "one-third": float(np.array(1 / 3, NUMPY[datatype])),
        "nan": float("nan"),
        "inf": float("inf"),
        "minus-inf": float("-inf"),
    }


EDGES: dict[str, dict[str, object]] = {
    "BOOL": {"true": True, "false": False},
    **{name: _integers(name) for name, dtype in NUMPY.items() if dtype.kind in "iu"},
    **{name: _floats(name) for name, dtype in NUMPY.items() if dtype.kind == "f"},
    "BF16": {
        "one": 0x3F80,
        "min": 0xFF7F,
        "max": 0x7F7F,
        "denormal": 0x0001,
        "minus-zero": 0x8000,
        "nan": 0x7FC0,
        "inf": 0x7F80,
        "minus-inf": 0xFF80,
    },
    "BYTES": {
        "empty": b"",
        "ascii": b"plain text",
        "utf-8": "naïve, 日本語, 🦜".encode(),
        "nul": b"before\0after",
        "newline": b"two\r\nlines",
        "long": b"0123456789abcdef" * 5000,
    },
}


def array(datatype: str, values: Sequence[object], shape: Sequence[int]) -> Array:
    """Put values into an array of a datatype."""
    flat = np.empty(len(values), NUMPY[datatype])
    flat[:] = values
    return flat.reshape(shape)


def encode(datatype: str, values: Array) -> bytes:
    """Write a tensor in the protocol's raw form."""
    if datatype != "BYTES":
        return values.astype(NUMPY[datatype], copy=False).tobytes()
    return b"".join(struct.pack("<I", len(string)) + string for string in values.ravel())


def decode(datatype: str, data: bytes, shape: Sequence[int]) -> Array:
    """Read a tensor in the protocol's raw form; bytes too many or too few fail the test."""
    if datatype == "BYTES":
        return array(datatype, _strings(data), shape)
    expected = int(np.prod(shape, dtype=np.int64)) * NUMPY[datatype].itemsize
    assert len(data) == expected, f"{datatype} {list(shape)} came in {len(data)} bytes"
    return np.frombuffer(data, NUMPY[datatype]).reshape(shape)


def _strings(data: bytes) -> list[bytes]:
    strings, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        at += 4 + length
        assert at <= len(data), f"a string of {length} bytes runs past the end of the tensor"
        strings.append(data[at - length : at])
    return strings
