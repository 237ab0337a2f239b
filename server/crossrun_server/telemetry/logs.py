"""What is logged, and how it looks: Triton's settings, applied to Python's logging.

A record may have `fields`, which a text format shows behind the message. Verbose level 1 logs each
request in one line; 2 and above also log what the libraries say.
Source: https://github.com/triton-inference-server/server (docs/protocol/extension_logging.md).
"""

import json
import logging
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from crossrun_server.access import audit
from crossrun_server.errors import InvalidRequest, NotSupported, ServingError
from crossrun_server.telemetry.repeats import Repeats
from crossrun_server.telemetry.request_record import RequestRecord

log = logging.getLogger(__name__)

Value = bool | int | str
PREFIX = "log_"
PLAIN = re.compile(r"[\w./:%\[\]-]+")
# What would end a line, or tell a terminal what to do → how it is written.
ESCAPED = {
    code: ascii(chr(code))[1:-1] for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029)
}
KINDS: dict[type, str] = {bool: "a boolean", int: "a whole number", str: "a string"}


@dataclass(frozen=True)
class LogSettings:
    """The settings, named as on the wire, without `log_`."""

    file: str = ""  # empty: stderr
    info: bool = True
    warning: bool = True
    error: bool = True
    verbose_level: int = 0
    format: str = "default"


def start(settings: LogSettings) -> "Log":
    """Take over the logging of the whole process.

    Raises:
        ServingError: there is no such format, or the file cannot be written.
    """
    _check_format(settings.format)
    handler = _handler(settings.file)
    logging.basicConfig(handlers=[handler], force=True)
    started = Log(settings, handler)
    started.change({})
    return started


class Log:
    """The log of this process."""

    def __init__(self, settings: LogSettings, handler: logging.Handler) -> None:
        self._settings = settings
        self._handler = handler
        self._repeats = Repeats()

    def settings(self) -> dict[str, Value]:
        """Return the settings by their names on the wire."""
        return {f"{PREFIX}{name}": value for name, value in asdict(self._settings).items()}

    def change(self, changes: Mapping[str, Value | None]) -> None:
        """Change settings, by their names on the wire: all of them or none.

        Raises:
            InvalidRequest: there is no such setting, or its value is not allowed.
            NotSupported: the file cannot change while the server runs.
        """
        told = self.settings()
        for name, value in changes.items():
            _check(name, value, told)
        changed = {name.removeprefix(PREFIX): value for name, value in changes.items()}
        self._settings = replace(self._settings, **changed)  # type: ignore[arg-type]
        _apply(self._settings, self._handler)
        self._handler.addFilter(self._repeats)

    def finished(self, record: RequestRecord) -> None:
        """Log a request that is over, if requests are to be logged."""
        if self._settings.verbose_level:
            log.debug("%s", _line(record))


def _apply(settings: LogSettings, handler: logging.Handler) -> None:
    handler.setFormatter(FORMATS[settings.format]())
    handler.filters = [lambda record: _lets_through(record, settings)]
    libraries = logging.DEBUG if settings.verbose_level > 1 else logging.INFO
    logging.getLogger().setLevel(libraries)
    own = logging.DEBUG if settings.verbose_level else logging.INFO
    logging.getLogger("crossrun_server").setLevel(own)


def _lets_through(record: logging.LogRecord, settings: LogSettings) -> bool:
    if record.name == audit.LOGGER:  # who controls the server cannot hide it
        return True
    if record.levelno >= logging.ERROR:
        return settings.error
    if record.levelno >= logging.WARNING:
        return settings.warning
    return settings.info or record.levelno < logging.INFO


class _Text(logging.Formatter):
    """One line for each event: a name that comes from a caller cannot begin another."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        fields = "".join(f" {name}={_value(value)}" for name, value in _fields(record).items())
        record.message = f"{record.message}{fields and ';'}{fields}".translate(ESCAPED)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        lines = super().formatException(ei).splitlines()
        return "\n".join(f"  {line.translate(ESCAPED)}" for line in lines)

    def format(self, record: logging.LogRecord) -> str:
        record.letter = record.levelname[0]
        record.where = _where(record)
        return super().format(record)

    def formatTime(  # noqa: N802 - logging's name
        self, record: logging.LogRecord, datefmt: str | None = None
    ) -> str:
        assert datefmt
        return _time(record, datefmt)


class _Json(logging.Formatter):
    """One JSON object in a line for each event, with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        event = {
            "time": _time(record, "%Y-%m-%dT%H:%M:%S.{}Z"),
            "level": record.levelname.lower(),
            "process": record.process,
            "where": _where(record),
            "message": record.getMessage(),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event | _fields(record))


FORMATS: dict[str, Callable[[], logging.Formatter]] = {
    "default": partial(
        _Text, "%(letter)s%(asctime)s %(process)d %(where)s] %(message)s", "%m%d %H:%M:%S.{}"
    ),
    "ISO8601": partial(
        _Text, "%(asctime)s %(letter)s %(process)d %(where)s] %(message)s", "%Y-%m-%dT%H:%M:%SZ"
    ),
    "json": _Json,
}


def _time(record: logging.LogRecord, form: str) -> str:
    """Write when an event was, in UTC; {} stands for the microseconds."""
    microseconds = f"{int(record.created % 1 * 1e6):06d}"
    return time.strftime(form, time.gmtime(record.created)).replace("{}", microseconds)


def _where(record: logging.LogRecord) -> str:
    return f"{record.filename}:{record.lineno}"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of a record that have a value."""
    return {name: value for name, value in getattr(record, "fields", {}).items() if value != ""}


def _value(value: object) -> str:
    """Write a value; a text with spaces, or with what ends a value, is quoted."""
    text = str(value)
    return text if PLAIN.fullmatch(text) else repr(text)


def _handler(file: str) -> logging.Handler:
    if not file:
        return logging.StreamHandler(sys.stderr)
    try:
        return logging.FileHandler(file, encoding="utf-8")
    except OSError as error:
        raise ServingError(f"cannot write the log file: {error}") from error


def _check(name: str, value: Value | None, settings: Mapping[str, Value]) -> None:
    if name not in settings:
        raise InvalidRequest(f"there is no setting {name!r}; expected {', '.join(settings)}")
    if name == "log_file":
        raise NotSupported("log file location can not be updated through network protocol")
    expected = type(settings[name])
    if type(value) is not expected:
        raise InvalidRequest(f"{name} is {value!r}, expected {KINDS[expected]}")
    if name == "log_format":
        _check_format(str(value))


def _check_format(name: str) -> None:
    if name not in FORMATS:
        raise InvalidRequest(f"log_format is {name!r}, expected {', '.join(FORMATS)}")


def _line(record: RequestRecord) -> str:
    """Describe a request in one line; its id is quoted, because it comes from the caller."""
    head = f"{record.model} version {record.version}, request {record.origin.request_id!r}"
    if record.reply is None:
        assert record.error
        return f"{head}: {record.error.__name__} after {record.duration_ns / 1e6:.3f} ms"
    reply = record.reply
    source = "run" if reply.batch else "cache"
    return (
        f"{head}: batch of {record.rows} from the {source} in {record.duration_ns / 1e6:.3f} ms, "
        f"queue {reply.queue_ns / 1e6:.3f}, compute {reply.compute_ns / 1e6:.3f}"
    )
