"""Reads messages from their bytes: bounded, and a ModelInferRequest without copying its tensors.

protobuf makes objects of all that a message says it holds, and two bytes can say it: so what is in
a message is counted first. protobuf also copies every field that it reads, and copies it again when
Python asks for it: 150 KB twice for a picture. So raw tensors are cut out of a message, as views of
its bytes. Source: https://protobuf.dev/programming-guides/encoding/.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.errors import InvalidRequest

RAW = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
VARINT, LENGTH, GROUP, END = 0, 2, 3, 4  # kinds of fields; a group's fields follow its start
FIXED = {1: 8, 5: 4, GROUP: 0, END: 0}  # a fixed kind → its size in bytes
LONGEST = 70  # bits of a number's ten bytes
SMALL = 4096  # bytes; copying a smaller message costs less than looking for its tensors
MOST_FIELDS = 50_000  # of a message, at any depth: counted in 25 ms
MOST_NUMBERS = 4_000_000  # of a message, in lists: read in 50 ms

Data = bytes | memoryview
M = TypeVar("M", bound=Message)
# Number of a field → the fields of the message in it, or the bytes of a number of its list, 1 for a
# varint. Other fields are missing.
Held = Mapping[int, "Held | int"]


class WireRequest(NamedTuple):
    """A request whose raw tensors are kept apart from its message."""

    message: pb.ModelInferRequest
    raw: tuple[bytes | memoryview, ...]
    size: int  # bytes of all


class PlainRequest(NamedTuple):
    """A request without parameters, whose tensors are raw, as the native front end reads it."""

    model_name: str
    model_version: str
    id: str
    inputs: list[
        tuple[str, str, tuple[int, ...], int, int]
    ]  # name, datatype, shape, bytes from, to
    outputs: list[str]
    data: memoryview  # of the whole message


@cache
def reader(message: type[M]) -> Callable[[Data], M]:
    """Return what reads messages of a type.

    It raises DecodeError if the bytes are no such message, InvalidRequest if they hold too much.
    """
    return partial(_read, message, _held(message.DESCRIPTOR))


def read(data: Data) -> WireRequest:
    """Read a ModelInferRequest; if its bytes hold a group, protobuf parses them all.

    Raises:
        DecodeError: the bytes are not such a message.
        InvalidRequest: they hold too much.
    """
    _check(data, REQUEST)
    fields = _raw_fields(data) if len(data) > SMALL else None
    if fields is None:
        message = pb.ModelInferRequest.FromString(bytes(data))
        return WireRequest(message, tuple(message.raw_input_contents), len(data))
    view, rest, raw, kept = memoryview(data), bytearray(), list[memoryview](), 0
    for start, begin, end in fields:
        rest += view[kept:start]
        raw.append(view[begin:end])
        kept = end
    message = pb.ModelInferRequest.FromString(bytes(rest + view[kept:]))
    return WireRequest(message, tuple(raw), len(data))


def _read(message: type[M], held: Held, data: Data) -> M:
    _check(data, held)
    return message.FromString(bytes(data))


def _held(descriptor: Any) -> Held:
    """Find what the fields of a message hold; no message that is read here can hold itself."""
    found: dict[int, Held | int] = {}
    for field in descriptor.fields:
        if field.message_type:
            found[field.number] = _held(field.message_type)
        elif field.is_packed:
            found[field.number] = {field.CPPTYPE_DOUBLE: 8, field.CPPTYPE_FLOAT: 4}.get(
                field.cpp_type, 1
            )
    return found


REQUEST = _held(pb.ModelInferRequest.DESCRIPTOR)


def _check(data: Data, held: Held) -> None:
    """Count the fields of a message at all depths, and the numbers in its lists."""
    if len(data) <= 2 * MOST_FIELDS:  # a field takes two bytes or more, a number one
        return
    fields = numbers = 0
    parts: list[tuple[int, int, Held]] = [(0, len(data), held)]
    while parts:
        groups = 0  # that are open; protobuf skips what is in them
        at, until, inside = parts.pop()
        for _, tag, begin, end in _fields(data, at, until):
            fields, kind = fields + 1, tag & 7
            groups += (kind == GROUP) - (kind == END)
            content = inside.get(tag >> 3) if kind == LENGTH and not groups else None
            if isinstance(content, int):
                numbers += _numbers(data, begin, end, content)
            elif content is not None:
                parts.append((begin, end, content))
            if fields > MOST_FIELDS or numbers > MOST_NUMBERS:
                raise InvalidRequest(
                    f"the request holds more than {MOST_FIELDS} fields or {MOST_NUMBERS} numbers; "
                    "tensors of more are sent in raw_input_contents, or in tensor_content"
                )


def _numbers(data: Data, begin: int, end: int, size: int) -> int:
    if size > 1:
        return (end - begin) // size
    part = np.frombuffer(memoryview(data)[begin:end], np.uint8)
    return int(np.count_nonzero(part < 0x80))  # each varint has one such byte, its last


def _raw_fields(data: Data) -> list[tuple[int, int, int]] | None:
    """Find where each raw tensor's field starts, and where its content begins and ends.

    None if there are groups, whose fields are not the message's own.
    """
    found = []
    for start, tag, begin, end in _fields(data, 0, len(data)):
        if tag & 7 in (GROUP, END):
            return None
        if tag == RAW << 3 | LENGTH:
            found.append((start, begin, end))
    return found


def _fields(data: Data, at: int, until: int) -> Iterator[tuple[int, int, int, int]]:
    """Iterate over fields: where each starts, its tag, and where its content begins and ends.

    Raises:
        DecodeError: the bytes are no fields.
    """
    try:
        while at < until:
            start = at
            tag, at = _varint(data, at)
            begin, at = _content(data, at, tag & 7)
            yield start, tag, begin, at
    except (IndexError, KeyError):
        raise DecodeError from None
    if at > until:
        raise DecodeError


def _content(data: Data, at: int, kind: int) -> tuple[int, int]:
    """Find where a field's content begins and ends; KeyError if its kind is not in use."""
    if kind == LENGTH:
        size, begin = _varint(data, at)
        return begin, begin + size
    if kind == VARINT:
        return at, _varint(data, at)[1]
    return at, at + FIXED[kind]


def _varint(data: Data, at: int) -> tuple[int, int]:
    """Read a number, and where it ends; IndexError if it does not end, there or in ten bytes."""
    value = shift = 0
    while (byte := data[at]) & 0x80:
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if shift == LONGEST:
            raise IndexError
    return value | byte << shift, at + 1
