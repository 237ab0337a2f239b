"""JSON of requests and of answers, in amounts that hold nobody up.

Nothing else runs in Python while one document is read, so a document may have only so many values;
arrays are written in pieces, and others have their turn after each.
"""

import json
import math
import re
from typing import Any

import numpy as np
import orjson
from starlette.responses import Response

from crossrun_server.errors import InvalidRequest
from crossrun_server.tensors.tensor_spec import Array

MOST_VALUES = 500_000  # of a document: read in 50 ms; three pictures of 224 x 224 as numbers
MOST_BYTES = 16 << 20  # of a document
PIECE = 50_000  # numbers
SLOWER = 4  # times that Python's json needs
UNWRITABLE = re.compile(rb"NaN|Infinity")


def read(body: bytes, most: int = MOST_VALUES) -> dict[str, Any]:
    """Read an object.

    Args:
        body: its text.
        most: values that may be in it, at all depths.

    Raises:
        InvalidRequest: it is no object, or has too much in it.
    """
    if len(body) > MOST_BYTES:
        raise InvalidRequest(f"the JSON has {len(body)} bytes, expected {MOST_BYTES} at most")
    if body.count(b",") + body.count(b"[") + body.count(b"{") > most:
        raise InvalidRequest(
            f"the JSON has more than {most} values; more are sent as binary tensors or as pictures"
        )
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        found = _with_unwritable(body, most, error)
    if not isinstance(found, dict):
        raise InvalidRequest("the JSON is no object, which begins with {")
    # More bytes than that are a model's file, which only who controls the server may send.
    if len(body) <= MOST_BYTES and _colons(body) != _members(found):
        raise InvalidRequest("the JSON has a key twice in one object, or objects among others")
    return found


def _with_unwritable(body: bytes, most: int, error: orjson.JSONDecodeError) -> Any:
    """Read JSON with NaN or Infinity, which Python's and Triton's clients write.

    Raises:
        InvalidRequest: it is no such JSON.
    """
    if not UNWRITABLE.search(body):
        raise InvalidRequest(f"the body is no JSON: {error}") from None
    if body.count(b",") > most // SLOWER:
        raise InvalidRequest(
            f"the JSON has NaN or Infinity among more than {most // SLOWER} values; "
            "more are sent as binary tensors"
        )
    try:
        return json.loads(body, parse_float=_finite)
    except (ValueError, RecursionError):  # Python's own words tell less
        raise InvalidRequest(f"the body is no JSON: {error}") from None


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError
    return number


def _colons(body: bytes) -> int:
    """Count the colons outside texts."""
    parts = body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    return sum(part.count(b":") for part in parts[::2])


def _members(found: Any) -> int:
    """Count the members of all objects; a list that does not begin with one has none."""
    count, open_ = 0, [found]
    while open_:
        value = open_.pop()
        if isinstance(value, dict):
            count += len(value)
            open_.extend(value.values())
        elif isinstance(_first(value), dict):
            open_.extend(value)
    return count


def _first(value: Any) -> Any:
    while isinstance(value, list) and value:
        value = value[0]
    return value


def check_keys(found: dict[str, Any], known: tuple[str, ...]) -> None:
    """Refuse what nobody reads.

    Raises:
        InvalidRequest: a key is not known.
    """
    if strays := [key for key in found if key not in known]:
        raise InvalidRequest(f"the JSON has {strays[0]!r}, expected {', '.join(known)}")


def response(value: Any) -> Response:
    """Return a response of values; arrays are those of `array`."""
    return Response(orjson.dumps(value), media_type="application/json")


def array(values: Array) -> orjson.Fragment:
    """Write an array as nested lists; floats that JSON has no words for as Python's json does."""
    return orjson.Fragment(_text(values))


def _text(values: Array) -> bytes:
    if values.dtype == np.object_:
        return orjson.dumps(values.tolist())
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return json.dumps(values.tolist()).encode()
    if values.ndim == 0:
        return orjson.dumps(values.item())
    if values.size <= PIECE:
        return _dumped(values)
    return b"[" + b",".join(_pieces(values)) + b"]"


def _pieces(values: Array) -> list[bytes]:
    each = values.size // len(values)
    if each > PIECE:
        return [_text(row) for row in values]
    many = PIECE // each
    return [_dumped(values[at : at + many])[1:-1] for at in range(0, len(values), many)]


def _dumped(values: Array) -> bytes:
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
