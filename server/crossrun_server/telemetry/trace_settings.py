"""The settings of request tracing, from the command line and over the wire. Traces nothing.

Source: https://github.com/triton-inference-server/server (docs/protocol/extension_trace.md,
docs/user_guide/trace.md).
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crossrun_server.errors import InvalidRequest, NotSupported, ServingError

OFF, TIMESTAMPS, TENSORS = "OFF", "TIMESTAMPS", "TENSORS"
TRITON, OPENTELEMETRY = MODES = ("triton", "opentelemetry")
URL = "http://localhost:4318/v1/traces"  # of OTLP over HTTP, as Triton has it
WEB = re.compile(r"https?://[^/\s]+(/\S*)?")
EXPECTED = (
    "triton,file=PATH, triton,log-frequency=N, opentelemetry,url=URL, "
    "opentelemetry,resource=NAME=VALUE, level=LEVEL, rate=N, count=N, mode=triton or "
    "mode=opentelemetry"
)
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
    mode: str = TRITON
    file: str = ""  # of Triton's mode; empty: no tracing
    url: str = URL  # of OpenTelemetry's mode: who takes the spans
    resource: Mapping[str, str] = field(default_factory=dict)  # what they say of this server

    @property
    def needs_file(self) -> bool:
        """Whether nothing can be traced, for want of a file."""
        return self.mode == TRITON and not self.file


def parse(options: Sequence[str]) -> TraceConfig:
    """Read Triton's options `mode=opentelemetry`, `triton,file=PATH`, `level=TIMESTAMPS`, ….

    Raises:
        ServingError: an option is unknown or of another mode, or its value is not allowed.
    """
    settings: dict[str, Any] = {}
    config = TraceConfig()
    for option in options:
        if taken := _taken(config, *option.split("=", 1)):
            config = taken
        else:
            settings |= _parse_one(option)
    config = replace(config, settings=TraceSettings(**settings))
    _check_start(config, options)
    return config


def _taken(config: TraceConfig, name: str, value: str = "") -> TraceConfig | None:
    """Add an option that says where traces go; None if it is no such option."""
    if name == "mode" and value in MODES:
        return replace(config, mode=value)
    if name in ("file", f"{TRITON},file") and value:
        return replace(config, file=value)
    if name == f"{OPENTELEMETRY},url" and WEB.fullmatch(value):
        return replace(config, url=value)
    if name == f"{OPENTELEMETRY},resource" and "=" in value[1:]:
        return replace(config, resource={**config.resource, **dict([value.split("=", 1)])})
    return None


def _parse_one(option: str) -> dict[str, Any]:
    name, _, value = option.removeprefix(f"{TRITON},").partition("=")
    names = {"level": "trace_level", "rate": "trace_rate", "count": "trace_count"}
    setting = names.get(name, name.replace("-", "_"))
    if setting not in FIELDS:
        raise ServingError(f"--trace-config is {option!r}, expected {EXPECTED}")
    changed, read = FIELDS[setting]
    try:
        return {changed: read(setting, [value])}
    except ServingError as error:
        raise ServingError(f"--trace-config {option}: {error}") from error


def _check_start(config: TraceConfig, options: Sequence[str]) -> None:
    for option in options:
        mode, comma, _ = option.partition("=")[0].partition(",")
        if comma and mode != config.mode:
            raise ServingError(f"--trace-config {option} needs --trace-config mode={mode}")
    if config.settings.level != OFF and config.needs_file:
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
        setting, read = FIELDS[name]
        if values:
            fields[setting] = read(name, values)
        else:
            fields.pop(setting, None)
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
