"""The settings of request tracing, from the command line and over the wire. Traces nothing.

Source: https://github.com/triton-inference-server/server (docs/protocol/extension_trace.md,
docs/user_guide/trace.md).
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossrun_server.errors import InvalidRequest, NotSupported, ServingError

OFF, TIMESTAMPS, TENSORS = "OFF", "TIMESTAMPS", "TENSORS"
MODE = "triton"
FILE_NEEDED = "tracing needs a file: start the server with --trace-config triton,file=PATH"


@dataclass(frozen=True)
class TraceSettings:
    """What is traced, and how often it is written."""

    level: str = OFF
    rate: int = 1000  # one request in how many
    count: int = -1  # traces that are still to be made; -1: without end
    log_frequency: int = 0  # traces per file; 0: one file, complete at the end


@dataclass(frozen=True)
class TraceConfig:
    """How tracing starts."""

    settings: TraceSettings = TraceSettings()
    file: str = ""  # empty: no tracing


def parse(options: Sequence[str]) -> TraceConfig:
    """Read Triton's options `triton,file=PATH`, `triton,log-frequency=N`, `level=TIMESTAMPS`, ….

    Raises:
        ServingError: an option is unknown, or its value is not allowed.
    """
    changes: dict[str, Any] = {}
    file = ""
    for option in options:
        name, _, value = option.removeprefix(f"{MODE},").partition("=")
        if name == "file" and value:
            file = value
        elif (name, value) != ("mode", MODE):
            changes |= _parse_one(option, name.replace("-", "_"), value)
    config = TraceConfig(TraceSettings(**changes), file)
    _check_start(config)
    return config


def _parse_one(option: str, name: str, value: str) -> dict[str, Any]:
    setting = {"level": "trace_level", "rate": "trace_rate", "count": "trace_count"}.get(name, name)
    if setting not in FIELDS:
        raise ServingError(
            f"--trace-config is {option!r}, expected {MODE},file=PATH, {MODE},log-frequency=N, "
            "level=LEVEL, rate=N, count=N or mode=triton"
        )
    field, read = FIELDS[setting]
    try:
        return {field: read(setting, [value])}
    except ServingError as error:
        raise ServingError(f"--trace-config {option}: {error}") from error


def _check_start(config: TraceConfig) -> None:
    if config.settings.level != OFF and not config.file:
        raise ServingError(FILE_NEEDED)
    path = Path(config.file)
    if config.file and (path.is_dir() or not os.access(path.absolute().parent, os.W_OK)):
        raise ServingError(f"cannot write the trace file {config.file}")


def changed(own: Mapping[str, Any], changes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Apply changes from the wire to a scope's own settings; an empty value removes a setting.

    Args:
        own: the settings by field.
        changes: values by the settings' names on the wire.

    Raises:
        InvalidRequest: there is no such setting, or its value is not allowed.
        NotSupported: it cannot change while the server runs.
    """
    fields = dict(own)
    for name, values in changes.items():
        if name in ("trace_file", "trace_mode"):
            raise NotSupported(f"{name} cannot be changed while the server runs")
        if name not in FIELDS:
            raise InvalidRequest(f"there is no setting {name!r}; expected {', '.join(FIELDS)}")
        field, read = FIELDS[name]
        if values:
            fields[field] = read(name, values)
        else:
            fields.pop(field, None)
    return fields


def _level(name: str, values: Sequence[str]) -> str:
    if TENSORS in values:
        raise NotSupported(f"{name} {TENSORS} is not supported; expected {OFF} or {TIMESTAMPS}")
    if list(values) not in ([OFF], [TIMESTAMPS]):
        raise InvalidRequest(f"{name} is {', '.join(values)}; expected {OFF} or {TIMESTAMPS}")
    return values[0]


def _whole(least: int, most: int) -> Callable[[str, Sequence[str]], int]:
    def read(name: str, values: Sequence[str]) -> int:
        try:
            (value,) = map(int, values)
        except ValueError:
            value = least - 1
        if not least <= value <= most:
            raise InvalidRequest(
                f"{name} is {', '.join(values)!r}, expected a whole number of at least {least}"
            )
        return value

    return read


# The name of a setting on the wire → its field, and what reads its value.
FIELDS: dict[str, tuple[str, Callable[[str, Sequence[str]], Any]]] = {
    "trace_level": ("level", _level),
    "trace_rate": ("rate", _whole(1, 2**31 - 1)),
    "trace_count": ("count", _whole(-1, 2**31 - 1)),
    "log_frequency": ("log_frequency", _whole(0, 2**31 - 1)),
}
