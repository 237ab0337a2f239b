"""JSON of requests and of answers, in amounts that hold nobody up.

Nothing else runs in Python while one document is read, so a document may have only so many values;
arrays are written in pieces, and others have their turn after each.
"""

import json
from typing import Any

import numpy as np
import orjson
from starlette.responses import Response

from crossrun_server.errors import InvalidRequest
from crossrun_server.tensors.tensor_spec import Array

MOST_VALUES = 500_000  # of a document: read in 50 ms; three pictures of 224 x 224 as numbers
MOST_BYTES = 16 << 20  # of a document
PIECE = 50_000  # numbers


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
        raise InvalidRequest(f"the body is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidRequest("the JSON is no object, which begins with {")
    return found


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
