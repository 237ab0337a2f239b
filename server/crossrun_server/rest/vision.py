"""Pictures in, classes and boxes out: crossrun.v1.Vision for who has nothing but curl.

A picture is the body itself, a part of a form, or base64 in JSON. The fields of the messages are
parameters of the URL, fields of the form, or keys of the JSON.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crossrun.v1 import vision_pb2 as pb
from crossrun_server.errors import InvalidRequest
from crossrun_server.rest import forms, json_text
from crossrun_server.rest.calls import Calls
from crossrun_server.rest.describing import (
    JSON,
    NUMBER,
    SHARE,
    TEXT,
    WHOLE,
    Schema,
    operation,
    query,
)

METHODS = {
    "classify": ("/crossrun.v1.Vision/Classify", pb.ClassifyRequest),
    "detect": ("/crossrun.v1.Vision/Detect", pb.DetectRequest),
}
IMAGES = ("image", "images")  # names of the parts of a form
MOST_VALUES = 50_000  # of JSON, as protobuf's messages may have
RESIZE = {
    name.removeprefix("RESIZE_").lower(): number
    for name, number in pb.Resize.items()
    if number != pb.RESIZE_UNSPECIFIED
}

_PICTURES: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
        "required": ["b64"],
        "additionalProperties": False,
    },
}
_TILES: Schema = {
    "type": "object",
    "properties": {"columns": WHOLE, "rows": WHOLE, "overlap": NUMBER},
    "required": ["columns", "rows"],
    "additionalProperties": False,
}
_COMMON: dict[str, Schema] = {"model": TEXT, "version": TEXT, "resize": {"enum": list(RESIZE)}}
FIELDS: dict[str, dict[str, Schema]] = {
    "classify": _COMMON | {"top_k": WHOLE, "min_score": NUMBER},
    "detect": _COMMON
    | {
        "min_score": SHARE,
        "max_detections": WHOLE | {"minimum": 1},
        "iou_threshold": SHARE,
        "labels": {"type": "array", "items": TEXT},
    },
}
_TIMES: Schema = {
    "type": "object",
    "properties": {name: {"type": "integer"} for name in ("decode_us", "queue_us", "compute_us")},
}
_CLASS = {"index": WHOLE, "label": TEXT, "score": NUMBER}
_BOX: Schema = {
    "type": "object",
    "properties": dict.fromkeys(("ymin", "xmin", "ymax", "xmax"), NUMBER),
}
_RESULTS = {
    "classify": {"classes": {"type": "array", "items": {"type": "object", "properties": _CLASS}}},
    "detect": {
        "detections": {
            "type": "array",
            "items": {"type": "object", "properties": _CLASS | {"box": _BOX}},
        },
        "width": WHOLE,
        "height": WHOLE,
    },
}


def _described(name: str, summary: str) -> dict[str, Any]:
    fields, more = FIELDS[name], {"tiles": _TILES} if name == "detect" else {}
    parts = ("columns", "rows", "overlap") if more else ()
    flat = fields | {f"tiles.{part}": _TILES["properties"][part] for part in parts}
    binary = {"type": "string", "format": "binary"}
    form = flat | {"image": {"type": "array", "items": binary}}
    sent = fields | more | {"images": _PICTURES}
    result = {"type": "object", "properties": _RESULTS[name]}
    answer = {"model": TEXT, "version": TEXT, "timings": _TIMES}
    return operation(
        name,
        summary,
        {
            "type": "object",
            "properties": answer | {"results": {"type": "array", "items": result}},
            "required": ["model", "version", "results", "timings"],
        },
        parameters=tuple(query(*one, "As in crossrun.v1.Vision") for one in flat.items()),
        body={
            "image/jpeg": binary,
            "image/png": binary,
            forms.TYPE: {"type": "object", "properties": form, "required": ["image"]},
            JSON: {
                "type": "object",
                "properties": sent,
                "required": ["images"],
                "additionalProperties": False,
            },
        },
    )


PATHS = {
    "/v1/vision/classify": {"post": _described("classify", "Say what each picture shows")},
    "/v1/vision/detect": {"post": _described("detect", "Find the objects in each picture")},
}

Message = pb.ClassifyRequest | pb.DetectRequest
Fields = dict[str, Any]


def routes(calls: Calls) -> list[Route]:
    """Return the routes of this room."""

    def answering(method: str, kind: type[Message]) -> Any:
        async def answer(request: Request) -> Response:
            return await calls.answer(request, method, partial(_read, request, kind), _write)

        return answer

    return [
        Route(f"/v1/vision/{name}", answering(*how), methods=["POST"])
        for name, how in METHODS.items()
    ]


def _read(request: Request, kind: type[Message], body: bytes) -> Message:
    """Make a message of a request.

    Raises:
        InvalidRequest: it cannot be made.
    """
    named = _fields(request.query_params.multi_items())
    sent, images = _body(request.headers.get("content-type", ""), body)
    if twice := sorted(set(named) & set(sent)):
        raise InvalidRequest(f"{twice[0]} is given both in the URL and in the body")
    message = kind(images=images)
    known = [field for field in kind.DESCRIPTOR.fields_by_name if field != "images"]
    if strays := [name for name in (*named, *sent) if name not in known]:
        raise InvalidRequest(f"{strays[0]!r} is not known, expected {', '.join(known)}")
    _fill(message, named | sent)
    return message


def _body(content_type: str, body: bytes) -> tuple[Fields, list[bytes]]:
    """Return the fields of a body, and its pictures."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == forms.TYPE:
        parts = forms.read(body, content_type)
        images = [part.content for part in parts if part.name in IMAGES]
        texts = [
            (p.name, p.content.decode(errors="replace")) for p in parts if p.name not in IMAGES
        ]
        return _fields(texts), images
    if kind == "application/json":
        found = json_text.read(body, MOST_VALUES)
        return found, _images(found.pop("images", []))
    return {}, [body] if body else []


def _images(listed: Any) -> list[bytes]:
    if not isinstance(listed, list):
        raise InvalidRequest('images is no list, expected [{"b64": "…"}, …]')
    return [_image(one, f"images[{at}]") for at, one in enumerate(listed)]


def _image(one: Any, where: str) -> bytes:
    if not isinstance(one, dict) or list(one) != ["b64"] or not isinstance(one["b64"], str):
        raise InvalidRequest(f'{where} is not {{"b64": "…"}}')
    try:
        return base64.b64decode(one["b64"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"{where} is no base64: {error}") from None


def _fields(texts: Iterable[tuple[str, str]]) -> Fields:
    """Collect fields that are texts; `labels` may come several times; `tiles.rows` is inside."""
    found: Fields = {}
    for name, text in texts:
        outer, _, inner = name.partition(".")
        if outer == "labels":
            found.setdefault(name, []).append(text)
        elif name in found or (inner and inner in found.get(outer, {})):
            raise InvalidRequest(f"{name} is given twice")
        elif inner:
            found.setdefault(outer, {})[inner] = text
        else:
            found[name] = text
    return found


def _fill(message: Message, fields: Mapping[str, Any]) -> None:
    """Put each field into a message, so that an error can name it."""
    for name, value in fields.items():
        if name == "resize":
            message.resize = _resize(value)
            continue
        try:
            ParseDict({name: value}, message)
        except (ParseError, RecursionError) as error:
            reason = str(error).splitlines()[0] if str(error) else "it is nested too deeply"
            raise InvalidRequest(f"{name} is not understood: {reason}") from None


def _resize(value: Any) -> Any:
    if not isinstance(value, str) or value.lower() not in RESIZE:
        raise InvalidRequest(f"resize is {value!r}, expected {', '.join(RESIZE)}")
    return RESIZE[value.lower()]


def _write(answer: Any) -> Response:
    found = MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    # protobuf writes numbers of 64 bits as texts, which would be in nobody's way here.
    found["timings"] = {name: int(value) for name, value in found["timings"].items()}
    return json_text.response(found)
