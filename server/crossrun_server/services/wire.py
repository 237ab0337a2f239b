"""Reads a ModelInferRequest from its bytes, without copying its raw tensors.

protobuf copies every field that it reads, and copies it again when Python asks for it: 150 KB
twice for a picture. So the raw tensors are cut out of the message first, as views of its bytes.
Source: https://protobuf.dev/programming-guides/encoding/.
"""

from typing import NamedTuple

from crossrun.oip import grpc_service_pb2 as pb

RAW = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
VARINT, LENGTH, FIXED = 0, 2, {1: 8, 5: 4}  # kinds of fields; a fixed kind → its size in bytes
LONGEST = 70  # bits of a number's ten bytes
SMALL = 4096  # bytes; copying a smaller message costs less than looking for its tensors


class WireRequest(NamedTuple):
    """A request whose raw tensors are kept apart from its message."""

    message: pb.ModelInferRequest
    raw: tuple[bytes | memoryview, ...]


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


def read(data: bytes | memoryview) -> WireRequest:
    """Parse a request; if its bytes are not a plain list of fields, protobuf parses them all.

    Raises:
        DecodeError: the bytes are not such a message.
    """
    fields = _raw_fields(data) if len(data) > SMALL else None
    if fields is None:
        message = pb.ModelInferRequest.FromString(bytes(data))
        return WireRequest(message, tuple(message.raw_input_contents))
    view, rest, raw, kept = memoryview(data), bytearray(), list[memoryview](), 0
    for start, begin, end in fields:
        rest += view[kept:start]
        raw.append(view[begin:end])
        kept = end
    return WireRequest(pb.ModelInferRequest.FromString(bytes(rest + view[kept:])), tuple(raw))


def _raw_fields(data: bytes | memoryview) -> list[tuple[int, int, int]] | None:
    """Find where each raw tensor's field starts, and where its content begins and ends."""
    found, at = [], 0
    try:
        while at < len(data):
            start = at
            tag, at = _varint(data, at)
            begin, at = _content(data, at, tag & 7)
            if tag == RAW << 3 | LENGTH:
                found.append((start, begin, at))
    except (IndexError, KeyError):
        return None
    return found if at == len(data) else None


def _content(data: bytes | memoryview, at: int, kind: int) -> tuple[int, int]:
    """Find where a field's content begins and ends; KeyError if its kind is not in use."""
    if kind == LENGTH:
        size, begin = _varint(data, at)
        return begin, begin + size
    if kind == VARINT:
        return at, _varint(data, at)[1]
    return at, at + FIXED[kind]


def _varint(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """Read a number, and where it ends; IndexError if it does not end, there or in ten bytes."""
    value = shift = 0
    while (byte := data[at]) & 0x80:
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if shift == LONGEST:
            raise IndexError
    return value | byte << shift, at + 1
