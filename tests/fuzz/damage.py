"""Damages bytes, in ways that parsers stumble over; the same seed leads to the same bytes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from random import Random
from typing import Any

from google.protobuf.message import Message

NUMBERS = [
    b"\x00",
    b"\x7f",
    b"\xff\x01",
    b"\xff" * 9 + b"\x01",
    b"\xff" * 11,
    b"\xff\xff\xff\xff\x07",
]
GROUP = b"\x0b"
EXTREME = [0, 1, -1, 2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**63 - 1, -(2**63), 2**64 - 1]

Change = Callable[[Random, bytearray], None]


def flip(random: Random, data: bytearray) -> None:
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def set_byte(random: Random, data: bytearray) -> None:
    data[random.randrange(len(data))] = random.randrange(256)


def cut(random: Random, data: bytearray) -> None:
    del data[random.randrange(len(data)) :]


def leave_out(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data))
    del data[at : at + random.randrange(1, 9)]


def repeat(random: Random, data: bytearray) -> None:
    at, size = random.randrange(len(data)), random.randrange(1, 33)
    data[at:at] = data[at : at + size] * random.choice([1, 2, 50])


def put_number(random: Random, data: bytearray) -> None:
    at, number = random.randrange(len(data)), random.choice(NUMBERS)
    data[at : at + random.randrange(2)] = number


def nest(random: Random, data: bytearray) -> None:
    at = random.randrange(len(data))
    data[at:at] = GROUP * random.choice([1, 99, 101, 1000])


CHANGES: tuple[Change, ...] = (flip, set_byte, cut, leave_out, repeat, put_number, nest)


def damaged(random: Random, data: bytes) -> bytes:
    """Change bytes once to four times."""
    changed = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 4])):
        if not changed:
            return random.randbytes(8)
        random.choice(CHANGES)(random, changed)
    return bytes(changed)


def edited(random: Random, message: Message) -> bytes:
    """Change one value of a message to an extreme or a damaged one; the message stays whole."""
    changed = type(message)()
    changed.CopyFrom(message)
    places = list(_places(changed))
    if places:
        owner, field = random.choice(places)
        with suppress(
            ValueError, TypeError, OverflowError
        ):  # the field does not take such a number
            _edit(random, owner, field)
    return changed.SerializeToString()


def _places(message: Message) -> Iterator[tuple[Message, Any]]:
    """Every field of a message and of those in it that is set, with its owner."""
    for field, value in message.ListFields():
        yield message, field
        held = (
            value.values()
            if isinstance(value, Mapping)
            else value
            if field.is_repeated
            else [value]
        )
        for one in held:
            if isinstance(one, Message):
                yield from _places(one)


def _edit(random: Random, owner: Any, field: Any) -> None:
    value = getattr(owner, field.name)
    if field.message_type or random.random() < 0.1:
        _multiply(random, owner, field)
    elif field.is_repeated:
        at = random.randrange(len(value))
        value[at] = _other(random, value[at])
    else:
        setattr(owner, field.name, _other(random, value))


def _multiply(random: Random, owner: Any, field: Any) -> None:
    value = getattr(owner, field.name)
    if field.is_repeated and not isinstance(value, Mapping) and random.random() < 0.5:
        value.extend(list(value) * random.choice([1, 3, 70]))
    else:
        owner.ClearField(field.name)


def _other(random: Random, value: Any) -> Any:
    if isinstance(value, bytes):
        return damaged(random, value) if value else random.randbytes(4)
    if isinstance(value, str):
        return damaged(random, value.encode() or b"a").decode(errors="replace")
    return random.choice([*EXTREME, float("nan"), float("inf"), 1e308])
