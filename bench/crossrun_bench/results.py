"""What is measured: raw values, with the machine they came from.

Nothing in it is a summary. Knows nothing of how values are measured, kept or shown.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from crossrun_bench.machine import Machine
from crossrun_bench.providers import Provider

if TYPE_CHECKING:
    from crossrun_bench.model import Model


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
    """What one target did. For a served target start-up and memory are the server's.

    They are null where the server was running before, and is not ours.
    """

    target: str
    startup_ns: int | None  # from the start of the process to its first answer
    peak_rss_bytes: int | None
    turns: tuple[Turn, ...]
    provider: Provider | None = None  # where providers are compared, and the target has one
    onnxruntime: str | None = None  # version where that provider is; with its plugin's, if any


@dataclass(frozen=True)
class LatencyResult:
    """Interleaved turns of some targets."""

    command: str
    machine: Machine
    model: ModelInfo
    targets: tuple[TargetLatency, ...]


@dataclass(frozen=True)
class Answer:
    """What one target said of one picture, and how far it is from what the reference said."""

    top5: tuple[int, ...]  # positions in the model's output, best first
    scores: tuple[float, ...]
    difference: float  # the largest of any class's probability, absolute
    divergence: float | None = None  # Kullback-Leibler, from the reference, nats; see `answers`


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
    class_names: tuple[str, ...] = ()  # position by position; none where the model has no labels
    thumbnails: dict[str, str] = field(default_factory=dict)  # JPEG in base64, by picture


Box = tuple[float, ...]  # ymin, xmin, ymax, xmax in pixels of the picture


@dataclass(frozen=True)
class Truth:
    """An object that a picture shows."""

    number: int  # class, position in the model's labels
    box: Box
    crowd: bool = False  # of several of its kind: finding it counts neither way


@dataclass(frozen=True)
class Detection:
    """An object that was found in a picture."""

    number: int  # as in Truth
    score: float
    box: Box


@dataclass(frozen=True)
class TargetDetections:
    """What one target found, picture by picture, best first."""

    target: str
    detections: tuple[tuple[Detection, ...], ...]


@dataclass(frozen=True)
class ShownPicture:
    """A picture that a report shows, so that it can be made elsewhere."""

    number: int  # position among the pictures
    width: int  # of the picture itself
    jpeg: str  # the picture, or a smaller one, in base64


@dataclass(frozen=True)
class DetectionResult:
    """Objects that the targets of one detector found, the reference first, and those there are."""

    command: str
    machine: Machine
    model: ModelInfo
    min_score: float  # down to which all were asked
    pictures: tuple[str, ...]
    truths: tuple[tuple[Truth, ...], ...]  # of each picture
    left_out: int  # how many other pictures there were, which the model was calibrated on
    class_names: tuple[str, ...]
    targets: tuple[TargetDetections, ...]
    shown: tuple[ShownPicture, ...]


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
    onnxruntime: str | None = None  # version where the provider is


@dataclass(frozen=True)
class LoadTurn:
    """What one target answered of one load.

    A closed loop: `clients` requests were always under way; `us` counts from sending, of what was
    answered within the time. An open loop: `rate` requests a second were sent when they were due;
    `us` counts from when they were due, of what was due within the time.
    """

    clients: int  # 0 in an open loop
    round: int  # from 1
    wall_ns: int  # what was counted, without the warm-up before it
    us: tuple[int, ...]  # how long each request took that was answered
    errors: dict[str, int]  # how many requests ended otherwise, by status
    generator_cpu_ns: int  # of the process that asked; 0 in process
    server_cpu_ns: int | None  # of all processes of the server; null where they aren't ours
    served: int  # requests that this CPU time went to, the warm-up's too
    rss_bytes: int | None  # of all processes of the server, pages that they share counted in each
    rate: float | None = None  # requests a second that were due; null in a closed loop
    probe: bool = False  # whether it looked for the highest rate
    windows: tuple[int, ...] = ()  # how many of `us` fall in each third of the time, in their order
    ended: tuple[int, ...] = ()  # open loop: answers that came within each third
    late_us: tuple[int, ...] = ()  # open loop: how much later than due each of `us` was sent
    queue_us: tuple[int, ...] = ()  # what the server told of each of `us`, if it does
    compute_us: tuple[int, ...] = ()
    decode_us: tuple[int, ...] = ()  # none where pictures come as tensors


@dataclass(frozen=True)
class LoadTarget:
    """One server, or what a process runs that asks itself."""

    target: str
    in_process: bool  # onnxruntime alone, with which all others are compared
    turns: tuple[LoadTurn, ...]
    runtime: bool = False  # in process too, under the loads of the servers


@dataclass(frozen=True)
class Objective:
    """A percentile of the latency, and its limit."""

    point: float  # such as 99.9
    limit_us: float

    def __str__(self) -> str:
        """p99 ≤ 10 ms."""
        return f"p{self.point:g} ≤ {self.limit_us / 1e3:g} ms"


@dataclass(frozen=True)
class LoadResult:
    """Interleaved turns of servers under load, one picture a request."""

    command: str
    machine: Machine
    model: ModelInfo
    neighbour: bool  # whether another process kept one core busy all the time
    targets: tuple[LoadTarget, ...]
    arrivals: str = ""  # of open loops: poisson or constant
    objective: Objective | None = None  # what probes held a rate to
    processes: int = 1  # that asked


@dataclass(frozen=True)
class AloneTurn:
    """Runs of a model in process, by callers that run all the time."""

    way: str  # plain, bound or graph
    batch: int  # rows of a run
    callers: int
    threads: int  # of the session, on the CPU
    round: int  # from 1
    ns: tuple[int, ...]  # how long each run took


@dataclass(frozen=True)
class ServedTurn:
    """What our server answered while `clients` requests of `batch` rows were always under way."""

    batch: int
    clients: int
    round: int  # from 1
    wall_ns: int  # what was counted, without the warm-up before it
    answered: int  # requests
    errors: dict[str, int]  # how many requests ended otherwise, by status
    generator_cpu_ns: int  # of the process that asked, within `wall_ns`
    server_cpu_ns: int  # of the server, within `server_ns`
    server_ns: int  # from before the warm-up to the last answer
    executed_rows: int  # within `server_ns`
    executions: int  # runs of the model, which may be of several requests


@dataclass(frozen=True)
class ProviderThroughput:
    """One execution provider, in process and in our server."""

    provider: str  # as people type it
    missing: str | None  # why it cannot run here; null where it can
    max_batch_size: int  # rows that the server takes in a request
    alone: tuple[AloneTurn, ...]
    served: tuple[ServedTurn, ...]
    failures: tuple[str, ...]  # what could not be measured, each as a sentence


@dataclass(frozen=True)
class ThroughputResult:
    """Rows a second on some execution providers, by batch size."""

    command: str
    machine: Machine
    cards: tuple[str, ...]  # graphics cards and their drivers, as nvidia-smi names them
    model: ModelInfo
    providers: tuple[ProviderThroughput, ...]


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


Result = (
    LatencyResult
    | AccuracyResult
    | DetectionResult
    | PrecisionResult
    | LoadResult
    | ThroughputResult
    | LoadGenResult
)
KINDS: dict[str, type[Result]] = {
    "latency": LatencyResult,
    "accuracy": AccuracyResult,
    "detection": DetectionResult,
    "precision": PrecisionResult,
    "load": LoadResult,
    "throughput": ThroughputResult,
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
    return next(name for name, cls in KINDS.items() if isinstance(result, cls))
