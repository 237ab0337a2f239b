"""Samples requests, and tells when each arrived, waited, ran and ended.

It tells it in Triton's JSON files, or to `spans` for OpenTelemetry. Knows records, not messages.
Requests end on any thread, so a lock guards what is traced.
Source: https://github.com/triton-inference-server/server (docs/protocol/extension_trace.md,
docs/user_guide/trace.md).
"""

import itertools
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from crossrun_server import distribution
from crossrun_server.errors import InvalidRequest, ServingError
from crossrun_server.telemetry import trace_context
from crossrun_server.telemetry.request_record import RequestRecord
from crossrun_server.telemetry.trace_context import TraceParent
from crossrun_server.telemetry.trace_settings import (
    FIELDS,
    FILE_NEEDED,
    OFF,
    OPENTELEMETRY,
    TraceConfig,
    TraceSettings,
    changed,
)

if TYPE_CHECKING:
    from crossrun_server.telemetry.spans import Spans

log = logging.getLogger(__name__)

# How many traces are held before they are written, if no setting says it.
CHUNK = 256

Entry = dict[str, Any]


def started(config: TraceConfig, suffix: str = "") -> "Tracer":
    """Start tracing; the suffix distinguishes the files, or the spans, of several processes.

    Raises:
        ServingError: OpenTelemetry is asked for and not installed.
    """
    return Tracer(config, suffix, _spans(config, suffix) if config.mode == OPENTELEMETRY else None)


def _spans(config: TraceConfig, suffix: str) -> "Spans":
    try:
        from crossrun_server.telemetry import spans  # noqa: PLC0415 - only if it is asked for
    except ModuleNotFoundError as error:
        raise ServingError(
            f"--trace-config mode=opentelemetry needs {error.name}, which is not installed: "
            f"install {distribution.the_extra('otel')}"
        ) from error
    process = {"service.instance.id": suffix.removeprefix(".")} if suffix else {}
    return spans.started(config.url, {**process, **config.resource})


class Tracer:
    """Samples requests and tells of them.

    Args:
        config: how tracing starts.
        suffix: of the files.
        spans: takes the traces; None: they go to files.
    """

    def __init__(self, config: TraceConfig, suffix: str, spans: "Spans | None") -> None:
        self._config = config
        self._spans = spans
        self._start = config.settings
        self._ids = itertools.count(1)
        self._output = _Output(config.file + suffix)
        self._everywhere = _Scope(config.settings, self._output)
        self._models: dict[str, _Scope] = {}
        self._lock = Lock()

    def finished(self, record: RequestRecord) -> None:
        """Trace a request that is over, if it is sampled."""
        header = record.origin.traceparent if self._spans else ""
        parent = trace_context.parse(header) if header else None
        with self._lock:
            scope = self._models.get(record.model, self._everywhere)
            if not scope.samples(parent):
                return
            if self._spans is None:
                scope.keep(list(_entries(next(self._ids), record)))
                return
        self._spans.keep(record, parent)

    @property
    def dropped_spans(self) -> int:
        """How many spans nobody got."""
        return self._spans.dropped if self._spans else 0

    def settings(self, model: str = "") -> dict[str, list[str]]:
        """Return the settings in force for a model or for all, by their names on the wire."""
        settings = self._models.get(model, self._everywhere).settings
        told = {name: [str(getattr(settings, field))] for name, (field, _) in FIELDS.items()}
        return told | {"trace_file": [self._config.file], "trace_mode": [self._config.mode]}

    def change(self, changes: Mapping[str, Sequence[str]], model: str = "") -> None:
        """Change settings, for a model or for all models without their own.

        A setting without a value is reset: a model's to that of all models, that of all models to
        the one that the server was started with. Either all settings change or none.

        Raises:
            InvalidRequest: there is no such setting, or its value is not allowed.
            NotSupported: it cannot change while the server runs.
        """
        with self._lock:
            if model:
                was = self._models[model].own if model in self._models else {}
                self._set_model(model, changed(was, changes))
            else:
                self._set_all(changed(self._everywhere.own, changes))

    def close(self) -> None:
        """Write the traces that are held, which completes the files, or send the last spans."""
        for scope in (self._everywhere, *self._models.values()):
            scope.close()
        self._output.close()
        if self._spans:
            self._spans.close()

    def _set_model(self, model: str, own: dict[str, Any]) -> None:
        scope = _Scope(self._valid(self._everywhere.settings, own), self._output, own)
        if model in self._models:
            self._models.pop(model).close()
        if own:
            self._models[model] = scope

    def _set_all(self, own: dict[str, Any]) -> None:
        scope = _Scope(self._valid(self._start, own), self._output, own)
        models = {name: self._valid(scope.settings, was.own) for name, was in self._models.items()}
        self._everywhere.close()
        self._everywhere = scope
        for name, settings in models.items():
            was = self._models[name]
            was.close()
            self._models[name] = _Scope(settings, self._output, was.own)

    def _valid(self, base: TraceSettings, own: dict[str, Any]) -> TraceSettings:
        settings = replace(base, **own)
        if settings.level != OFF and self._config.needs_file:
            raise InvalidRequest(f"trace_level is {settings.level}, but {FILE_NEEDED}")
        return settings


class _Scope:
    """The settings of one model, or of all other models, and their traces."""

    def __init__(
        self, settings: TraceSettings, output: "_Output", own: dict[str, Any] | None = None
    ) -> None:
        self.settings = settings
        self.own = own or {}  # the settings given to this scope, by field
        self._output = output
        self._most = CHUNK if settings.count < 0 else settings.count
        self._seen = 0
        self._traces: list[list[Entry]] = []

    def samples(self, parent: TraceParent | None) -> bool:
        """Whether to trace the next request: as its parent was, or one in so many."""
        if self.settings.level == OFF or self.settings.count == 0:
            return False
        if parent is None:
            self._seen += 1
        sampled = parent.sampled if parent else self._seen % self.settings.rate == 0
        if sampled:
            self._count_down()
        return sampled

    def keep(self, trace: list[Entry]) -> None:
        """Hold a trace, and write all that are held once they are enough."""
        self._traces.append(trace)
        if self.settings.count == 0 or len(self._traces) == self.settings.log_frequency:
            self._write(apart=True)
        elif self.settings.log_frequency == 0 and len(self._traces) >= self._most:
            self._write(apart=False)

    def close(self) -> None:
        """Write the traces that are held."""
        if self._traces:
            self._write(apart=self.settings.log_frequency > 0)

    def _count_down(self) -> None:
        if self.settings.count > 0:
            self.settings = replace(self.settings, count=self.settings.count - 1)
            if "count" in self.own:
                self.own["count"] = self.settings.count

    def _write(self, *, apart: bool) -> None:
        entries = [entry for trace in self._traces for entry in trace]
        self._traces = []
        self._output.write(entries, apart=apart)


class _Output:
    """The trace file, an array that is closed at the end, and the numbered files beside it.

    If a file cannot be written, its traces are lost, which is logged, and no request fails.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._numbers = itertools.count()
        self._begun = False

    def write(self, entries: Iterable[Entry], *, apart: bool) -> None:
        """Write traces to a numbered file of their own, or to the trace file."""
        text = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries)
        if apart:
            _write(f"{self._path}.{next(self._numbers)}", "w", f"[\n{text}\n]\n")
        elif self._begun:
            _write(self._path, "a", f",\n{text}")
        else:
            self._begun = _write(self._path, "w", f"[\n{text}")

    def close(self) -> None:
        """End the array."""
        if self._begun:
            _write(self._path, "a", "\n]\n")


def _write(path: str, mode: str, text: str) -> bool:
    try:
        with Path(path).open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        log.error("traces are lost: %s", error)
        return False
    return True


def _entries(number: int, record: RequestRecord) -> Iterator[Entry]:
    """Yield a record's entries in Triton's form: the request, then one entry for each moment."""
    request_id = record.origin.request_id
    head = {"id": number, "model_name": record.model, "model_version": int(record.version)}
    yield head | ({"request_id": request_id} if request_id else {})
    for name, ns in _moments(record):
        yield {"id": number, "timestamps": [{"name": name, "ns": ns}]}


def _moments(record: RequestRecord) -> Iterator[tuple[str, int]]:
    yield "REQUEST_START", record.started_ns
    if record.queued_ns:
        yield "QUEUE_START", record.queued_ns
    if record.reply is not None and record.reply.batch:
        durations = (
            record.reply.queue_ns,
            record.reply.input_ns,
            record.reply.compute_ns,
            record.reply.output_ns,
        )
        names = ("COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END")
        ends = itertools.accumulate(durations, initial=record.queued_ns)
        yield from zip(names, itertools.islice(ends, 1, None), strict=True)
    yield "REQUEST_END", record.ended_ns
