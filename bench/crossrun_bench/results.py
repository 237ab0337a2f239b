"""The results format, `crossrun-bench/1`: raw values with the machine they came from.

One JSON document; nothing in it is a summary. Knows nothing of how values are measured or shown.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrun_bench.codec import decode
from crossrun_bench.errors import BenchError
from crossrun_bench.machine import Machine
from crossrun_bench.providers import Provider

if TYPE_CHECKING:
    from crossrun_bench.model import Model

FORMAT = "crossrun-bench/1"


@dataclass(frozen=True)
class ModelInfo:
    """Which model was measured."""

    name: str
    version: str
    sha256: str  # of model.onnx
    source: dict[str, str]
    height: int
    width: int
    classes: int
    precision: str = "fp32"


@dataclass(frozen=True)
class Turn:
    """One target's requests, one after another, until its time was up."""

    batch: int  # pictures in each request
    round: int  # from 1; 0 is the turn that warms up and counts nowhere
    started_ns: int  # monotonic clock, the same for all turns of a file
    warmup: int  # how many of `ns`, from the first, are warm-ups
    ns: tuple[int, ...]  # how long each request took


@dataclass(frozen=True)
class TargetLatency:
    """What one target did. For a served target start-up and memory are the server's."""

    target: str
    startup_ns: int  # from the start of the process to its first answer
    peak_rss_bytes: int
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class LatencyResult:
    """Interleaved turns of some targets."""

    command: str
    machine: Machine
    model: ModelInfo
    targets: tuple[TargetLatency, ...]


@dataclass(frozen=True)
class Answer:
    """What one target said of one picture, and the largest difference from the reference."""

    top5: tuple[int, ...]  # positions in the model's output, best first
    scores: tuple[float, ...]
    difference: float  # of any class's probability, absolute


@dataclass(frozen=True)
class TargetAnswers:
    """What one target said, picture by picture."""

    target: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Answers of some targets on the same pictures; the first target is the reference."""

    pictures: tuple[str, ...]
    labels: tuple[int, ...] | None  # what each picture shows; null where that is unknown
    unlabelled: str | None  # why it is unknown
    left_out: int = 0  # how many other pictures there were, which a model was calibrated on
    targets: tuple[TargetAnswers, ...]


@dataclass(frozen=True, kw_only=True)
class AccuracyResult(Comparison):
    """Answers of the targets of one model."""

    command: str
    machine: Machine
    model: ModelInfo


@dataclass(frozen=True)
class MeasuredModel:
    """One precision of a source model, in process."""

    model: ModelInfo
    file_bytes: int  # of model.onnx
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Precisions:
    """All precisions of one source model, fp32 first, and what each said."""

    models: tuple[MeasuredModel, ...]
    answers: Comparison | None  # Keras's, then each model's, by its name; null without pictures


@dataclass(frozen=True)
class PrecisionResult:
    """Interleaved turns of all precisions of some source models on one execution provider."""

    command: str
    machine: Machine
    provider: Provider
    sources: tuple[Precisions, ...]


@dataclass(frozen=True)
class LoadTurn:
    """What one target answered while `clients` requests were always under way."""

    clients: int
    round: int  # from 1
    wall_ns: int  # what was counted, without the warm-up before it
    us: tuple[int, ...]  # how long each request took that was answered
    errors: dict[str, int]  # how many requests ended otherwise, by status
    generator_cpu_ns: int  # of the process that asked; 0 in process
    server_cpu_ns: int | None  # of all processes of the server; null where they aren't ours
    served: int  # requests that this CPU time went to, the warm-up's too
    rss_bytes: int | None  # of all processes of the server, pages that they share counted in each


@dataclass(frozen=True)
class LoadTarget:
    """One server, or onnxruntime in process."""

    target: str
    in_process: bool
    turns: tuple[LoadTurn, ...]


@dataclass(frozen=True)
class LoadResult:
    """Interleaved turns of servers under closed-loop load, one picture a request."""

    command: str
    machine: Machine
    model: ModelInfo
    neighbour: bool  # whether another process kept one core busy all the time
    targets: tuple[LoadTarget, ...]


@dataclass(frozen=True)
class ScenarioRun:
    """What MLPerf LoadGen itself logged of one scenario."""

    scenario: str
    valid: bool
    unmet: tuple[str, ...]  # constraints, as LoadGen names them
    advice: str  # its own words on the verdict
    queries: int
    pictures: int
    latency_ns: int | None  # at the percentile that is scored; null in Offline
    per_second: float | None  # null where latency alone is scored
    target_qps: float | None  # of Server
    classes: tuple[int, ...] | None = None  # the model's first for each picture


@dataclass(frozen=True)
class LoadGenResult:
    """LoadGen's runs of one target, one after another."""

    command: str
    machine: Machine
    model: ModelInfo
    target: str
    seconds: float  # that a run lasts at least
    labels: tuple[int, ...] | None  # what each picture shows; null without accuracy
    reference: tuple[int, ...] | None  # what Keras says of each; null for a model in fp32
    left_out: int  # how many other pictures there were, which the model was calibrated on
    runs: tuple[ScenarioRun, ...]


Result = LatencyResult | AccuracyResult | PrecisionResult | LoadResult | LoadGenResult
_KINDS: dict[str, type[Result]] = {
    "latency": LatencyResult,
    "accuracy": AccuracyResult,
    "precision": PrecisionResult,
    "load": LoadResult,
    "loadgen": LoadGenResult,
}


def about(model: Model) -> ModelInfo:
    """The part of a model's description that a result keeps: no paths of the machine."""
    return ModelInfo(
        name=model.name,
        version=model.version,
        sha256=model.sha256,
        source=model.source,
        height=model.height,
        width=model.width,
        classes=model.classes,
        precision=model.precision,
    )


def kind(result: Result) -> str:
    """What a result calls itself in its file."""
    return next(name for name, cls in _KINDS.items() if isinstance(result, cls))


def to_document(result: Result) -> dict[str, Any]:
    """The JSON document of a result."""
    return {"format": FORMAT, "kind": kind(result), **asdict(result)}


def write(path: Path, result: Result) -> None:
    """Write a result's document; BenchError where that fails."""
    write_text(path, json.dumps(to_document(result)) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write aside, then rename: a reader sees a whole file or none."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.write_text(text, "utf-8")
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise BenchError(f"{path}: cannot be written: {error.strerror}") from error


def read(path: Path) -> Result:
    """A result from its file; BenchError for any file that is not a whole `crossrun-bench/1`."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BenchError(f"{path}: damaged, no JSON document: {error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else None
        raise BenchError(f"{path}: expected format '{FORMAT}', got {json.dumps(found)}")
    if document.get("kind") not in _KINDS:
        expected = ", ".join(_KINDS)
        raise BenchError(f"{path}: expected kind {expected}, got {document.get('kind')}")
    try:
        return decode(_KINDS[document["kind"]], document)
    except ValueError as error:
        raise BenchError(f"{path}: damaged: {error}") from error
