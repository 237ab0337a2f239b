"""The audit log: a line for each call that controls the server, whatever its end.

It is in the server's log, whatever else that leaves out; or in a file of its own, as JSON lines.
"""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from logging.handlers import WatchedFileHandler
from threading import Lock
from typing import Any

from google.protobuf.message import Message

from crossrun_server.access.callers import Caller
from crossrun_server.errors import ServingError

LOGGER = __name__
REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED")
MOST_REFUSED = 60  # lines in `SPAN` of calls that were refused: strangers are not to fill the disk
SPAN = 60.0  # seconds
LONGEST = 200  # characters of a text
MOST = 20  # entries of a list

log = logging.getLogger(LOGGER)


@dataclass(frozen=True)
class Entry:
    """A call that has ended."""

    who: str  # kind and name, such as "token 'ci'"
    peer: str  # the client's address, as gRPC writes it; empty if it is not known
    call: str  # the RPC's name
    request: Mapping[str, Any]  # what was asked for, by field; empty if it was not read
    status: str
    details: str


def describe(
    caller: Caller, peer: str, method: str, request: Any, ending: tuple[str, str]
) -> Entry:
    """Describe a call that has ended.

    Args:
        caller: who made it.
        peer: the client's address.
        method: the path of the RPC.
        request: its message; None if it was not read.
        ending: the name of the status, and its text.
    """
    asked = _fields(request) if isinstance(request, Message) else {}
    status, details = ending
    return Entry(
        who=str(caller),
        peer=peer,
        call=method.rpartition("/")[2],
        request=asked,
        status=status,
        details=details,
    )


def start(file: str) -> "Audit":
    """Begin to write, to the log or to a file.

    Args:
        file: lines are appended to it; empty: the log.

    Raises:
        ServingError: the file cannot be written.
    """
    handlers = [_handler(file)] if file else []
    log.setLevel(logging.INFO)
    log.handlers[:] = handlers
    log.propagate = not handlers
    return Audit()


class Audit:
    """Writes entries, on any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._since = 0.0  # on the monotonic clock, seconds
        self._refused = self._left_out = 0

    def write(self, entry: Entry) -> None:
        """Write an entry, unless too many were refused; the next that is written says how many."""
        with self._lock:
            if entry.status in REFUSED and self._floods():
                self._left_out += 1
                return
            left_out, self._left_out = self._left_out, 0
        log.info("%s", _text(entry, left_out), extra={"entry": entry, "left_out": left_out})

    def _floods(self) -> bool:
        if time.monotonic() - self._since > SPAN:
            self._since, self._refused = time.monotonic(), 0
        self._refused += 1
        return self._refused > MOST_REFUSED


def _handler(file: str) -> logging.Handler:
    try:
        handler = WatchedFileHandler(file, encoding="utf-8")
    except OSError as error:
        raise ServingError(f"cannot write the audit log: {error}") from error
    handler.setFormatter(_JsonLines())
    return handler


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Write an entry as JSON, which escapes whatever would end a line."""
        now = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
        told: dict[str, Any] = {"time": now, **asdict(record.__dict__["entry"])}
        if left_out := record.__dict__["left_out"]:
            told["left_out"] = left_out
        return json.dumps(told)


def _text(entry: Entry, left_out: int) -> str:
    asked = "".join(f" {name}={json.dumps(value)}" for name, value in entry.request.items())
    ended = entry.status + (f" ({entry.details})" if entry.details else "")
    missing = f"; {left_out} refused calls before it are left out" if left_out else ""
    return f"audit: {entry.who} at {entry.peer or '-'}: {entry.call}{asked}: {ended}{missing}"


def _fields(message: Message) -> dict[str, Any]:
    return {field.name: _value(value) for field, value in message.ListFields()}


def _value(value: Any) -> Any:
    """Return what is written of a field: long texts are cut, of bytes only the number is told."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, Message):
        return _content(_fields(value))
    if isinstance(value, Mapping):
        return {_value(key): _value(value[key]) for key in islice(value, MOST)}
    return [_value(one) for one in islice(value, MOST)]


def _content(fields: dict[str, Any]) -> Any:
    """Return the value of a message that has one, such as a parameter."""
    return next(iter(fields.values())) if len(fields) == 1 else fields
