"""Values of JSON as tensors: strict, so that a number never becomes another."""

import base64
import binascii
from typing import Any

import numpy as np

from crossrun_server.errors import InvalidRequest
from crossrun_server.tensors.tensor_spec import DTYPES, Array, TensorSpec

B64 = "b64"
UNEQUAL = "the lists are not equally long, or nested too deeply"
MOST_DEEP = 64  # lists in each other: numpy's
ROWS = 1000  # that are read at once; others have their turn after each
EXPECTED = {"b": "true or false", "i": "whole numbers", "u": "whole numbers", "f": "numbers"}
FITTING = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}  # kinds of numpy that may become another


def tensor(value: Any, spec: TensorSpec) -> Array:
    """Make an array of nested lists.

    Args:
        value: numbers, texts, or lists of them; of texts also {"b64": "…"}.
        spec: of the input; its shape is not looked at.

    Raises:
        InvalidRequest: the lists are ragged, or hold something else; the message names the input.
    """
    if spec.datatype == "BF16":
        raise InvalidRequest(f"input {spec.name!r} is BF16, which JSON has no numbers for")
    if spec.datatype == "BYTES":
        return _of_texts(_array(_texts(value, spec.name), spec, np.dtype(np.object_)), spec.name)
    found = _array(value, spec, None)
    wanted = DTYPES[spec.datatype]
    if found.dtype.kind not in FITTING[wanted.kind] and spec.datatype == "UINT64":
        found = _large(value, spec)
    if found.size == 0:
        return found.astype(wanted)
    if found.dtype.kind not in FITTING[wanted.kind]:
        raise InvalidRequest(
            f"input {spec.name!r} is {spec.datatype}, expected {EXPECTED[wanted.kind]} alone"
        )
    return _converted(found, wanted, spec)


def _array(value: Any, spec: TensorSpec, dtype: np.dtype[Any] | None) -> Array:
    try:
        if not isinstance(value, list):
            return np.array(value, dtype)
        return np.concatenate(
            [np.array(value[at : at + ROWS], dtype) for at in range(0, len(value), ROWS)]
            or [np.array(value, dtype)]
        )
    except (ValueError, OverflowError):
        raise InvalidRequest(f"input {spec.name!r}: {UNEQUAL}") from None


def _large(value: Any, spec: TensorSpec) -> Array:
    """Read whole numbers that have no type in common but this one."""
    found = _array(value, spec, np.dtype(np.object_))
    fits = all(type(one) is int and 0 <= one < 2**64 for one in found.flat)
    return found.astype(np.uint64) if fits else found


def _converted(found: Array, wanted: np.dtype[Any], spec: TensorSpec) -> Array:
    if wanted.kind in "iu":
        bounds = np.iinfo(wanted)
        if not (bounds.min <= int(found.min()) and int(found.max()) <= bounds.max):
            raise InvalidRequest(
                f"input {spec.name!r} is {spec.datatype}, expected {bounds.min} to {bounds.max}"
            )
    with np.errstate(over="ignore"):
        made = found.astype(wanted, copy=False)
    if wanted.kind == "f" and (np.isinf(made) & np.isfinite(found)).any():
        raise InvalidRequest(
            f"input {spec.name!r} has a number that is too large for {spec.datatype}"
        )
    return made


def _of_texts(found: Array, name: str) -> Array:
    if not all(isinstance(one, str) for one in found.flat):  # numpy keeps lists of other lengths
        raise InvalidRequest(f"input {name!r}: {UNEQUAL}")
    return found


def _texts(value: Any, name: str, depth: int = 0) -> Any:
    if isinstance(value, list):
        if depth == MOST_DEEP:
            raise InvalidRequest(f"input {name!r}: {UNEQUAL}")
        return [_texts(one, name, depth + 1) for one in value]
    if isinstance(value, dict) and list(value) == [B64]:
        return _decoded(value[B64], name)
    if not isinstance(value, str):
        raise InvalidRequest(f'input {name!r} is BYTES, expected texts or {{"b64": "…"}} alone')
    return value


def _decoded(text: Any, name: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (TypeError, ValueError, binascii.Error) as error:
        raise InvalidRequest(
            f"input {name!r}: b64 has to hold UTF-8 in base64, since models here take text: {error}"
        ) from None


def has_picture(value: Any) -> bool:
    """Whether a value is, or begins with, something in base64."""
    while isinstance(value, list) and value:
        value = value[0]
    return isinstance(value, dict) and B64 in value
