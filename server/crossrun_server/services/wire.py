"""ModelInferRequest from its bytes, with the tensors left where they are.

protobuf copies every field that it reads, and once more what Python asks it for: of a picture that
is two times 150 KB. So the raw tensors are cut out of the message first, as views of its bytes.
Source: https://protobuf.dev/programming-guides/encoding/.
"""

from typing import NamedTuple

from crossrun.oip import grpc_service_pb2 as pb

RAW = pb.ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER
VARINT, LENGTH, FIXED = 0, 2, {1: 8, 5: 4}  # kinds of fields; bytes of those of a fixed size
SMALL = 4096  # bytes; copying as many costs less than looking for what need not be


class WireRequest(NamedTuple):
    """A request without its raw tensors, and these."""

    message: pb.ModelInferRequest
    raw: tuple[bytes | memoryview, ...]


def read(data: bytes) -> WireRequest:
    """Parse a request; what is no plain message of fields is left to protobuf as a whole.

    Raises:
        DecodeError: the bytes are no such message.
    """
    fields = _raw_fields(data) if len(data) > SMALL else None
    if fields is None:
        message = pb.ModelInferRequest.FromString(data)
        return WireRequest(message, tuple(message.raw_input_contents))
    view, rest, raw, kept = memoryview(data), bytearray(), list[memoryview](), 0
    for start, begin, end in fields:
        rest += view[kept:start]
        raw.append(view[begin:end])
        kept = end
    return WireRequest(pb.ModelInferRequest.FromString(bytes(rest + view[kept:])), tuple(raw))


def _raw_fields(data: bytes) -> list[tuple[int, int, int]] | None:
    """Where each raw tensor's field starts, and where its content begins and ends."""
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


def _content(data: bytes, at: int, kind: int) -> tuple[int, int]:
    """Where a field's content begins and ends; KeyError for a kind that is not in use."""
    if kind == LENGTH:
        size, begin = _varint(data, at)
        return begin, begin + size
    if kind == VARINT:
        return at, _varint(data, at)[1]
    return at, at + FIXED[kind]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number, and where it ends; IndexError where the bytes end before it does."""
    value = shift = 0
    while (byte := data[at]) & 0x80:
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
    return value | byte << shift, at + 1
