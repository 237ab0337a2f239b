"""Endpoints whose messages are JSON: what an RPC takes from the path and from the body."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToDict
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crossrun_server.errors import InvalidRequest
from crossrun_server.rest import json_text
from crossrun_server.rest.calls import Calls
from crossrun_server.rest.describing import JSON, OBJECT, Schema, operation, path

SERVICE = "/inference.GRPCInferenceService"
MOST_VALUES = 50_000  # of JSON, as protobuf's messages may have
KINDS = {str: "a text", bool: "true or false", int: "a whole number", dict: "an object"}
LONG = (
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT64,
)

Sent = dict[str, Any]


class Endpoint(NamedTuple):
    """A path, and the RPC that answers it."""

    verb: str
    path: str
    rpc: str
    message: type[Any]  # that the RPC takes
    fields: Mapping[str, str]  # a part of the path → the field of the message
    write: Callable[[Any], Response]  # makes the response of an answer
    told: str  # what it does
    fill: Callable[[Any, Sent], None] | None = None  # puts the JSON of a body into the message
    answer: Schema | str = OBJECT

    def started(self, parts: Mapping[str, str]) -> Any:
        """Return a message that has what the path says."""
        return self.message(**{self.fields[name]: text for name, text in parts.items()})


def route(calls: Calls, endpoint: Endpoint) -> Route:
    """Return the route of an endpoint."""

    async def answer(request: Request) -> Response:
        names = endpoint.started(request.path_params)
        read = partial(_read, endpoint, request)
        method = f"{SERVICE}/{endpoint.rpc}"
        return await calls.answer(request, method, read, endpoint.write, names=names)

    return Route(endpoint.path, answer, methods=[endpoint.verb])


def _read(endpoint: Endpoint, request: Request, body: bytes) -> Any:
    """Make a message of a request; its body may be empty.

    Raises:
        InvalidRequest: it cannot be made.
    """
    message = endpoint.started(request.path_params)
    if endpoint.fill:
        sent = json_text.read(body, MOST_VALUES) if body.strip() else {}
        try:
            endpoint.fill(message, sent)
        except (ValueError, UnicodeError) as error:  # protobuf's: too large, or no text
            raise InvalidRequest(f"the JSON does not fit {endpoint.rpc}: {error}") from None
    return message


def described(endpoint: Endpoint) -> Schema:
    """Return what OpenAPI says of an endpoint; no other has its name."""
    parts = [name for name in endpoint.fields if f"{{{name}}}" in endpoint.path]
    name = endpoint.verb.lower() + endpoint.rpc + "".join(map(str.title, parts))
    body = {JSON: OBJECT} if endpoint.fill else None
    how = operation(name, endpoint.told, endpoint.answer, parameters=path(*parts), body=body)
    if body:
        how["requestBody"]["required"] = False
    return how


def member(sent: Sent, name: str, kind: type[Any], otherwise: Any = None) -> Any:
    """Return a value of an object.

    Args:
        sent: the object.
        name: of the value.
        kind: of the value, as Python has it.
        otherwise: is returned if there is none; None: there has to be one.

    Raises:
        InvalidRequest: it is missing, or of another kind.
    """
    found = sent.get(name, otherwise)
    if found is None and name not in sent:
        raise InvalidRequest(f"the JSON has no {name!r}")
    if type(found) is not kind:
        raise InvalidRequest(f"{name!r} is {found!r:.80}, expected {KINDS[kind]}")
    return found


def done(_answer: Any) -> Response:
    """Write an answer that says nothing."""
    return Response()


def written(answer: Any) -> Response:
    """Write an answer as it is."""
    return json_text.response(plain(answer))


def plain(message: Any) -> Sent:
    """Return a message as an object; numbers of 64 bits are numbers, as Triton writes them."""
    found = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    _make_numbers(found, message.DESCRIPTOR)
    return found


def _make_numbers(found: Sent, descriptor: Any) -> None:
    for field in descriptor.fields:
        if field.name in found:
            found[field.name] = _numbers(found[field.name], field)


def _numbers(value: Any, field: Any) -> Any:
    """Turn texts of numbers into numbers: in one value, in a list, or in a map."""
    if isinstance(value, list):
        return [_numbers(one, field) for one in value]
    if field.message_type and field.message_type.GetOptions().map_entry:
        inner = field.message_type.fields_by_name["value"]
        return {name: _numbers(one, inner) for name, one in value.items()}
    if field.message_type and isinstance(value, dict):
        _make_numbers(value, field.message_type)
        return value
    return int(value) if field.cpp_type in LONG else value
