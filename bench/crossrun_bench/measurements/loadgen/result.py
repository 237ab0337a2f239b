"""What `crossrun-bench loadgen` measures."""

from dataclasses import dataclass

from crossrun_bench.measurements.result import Result
from crossrun_bench.models.info import ModelInfo


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
    per_second: float | None  # null if latency alone is scored
    target_qps: float | None  # of Server
    classes: tuple[int, ...] | None = None  # the model's first for each picture


@dataclass(frozen=True)
class LoadGenResult(Result):
    """LoadGen's runs of one target, one after another."""

    model: ModelInfo
    target: str
    seconds: float  # that a run lasts at least
    labels: tuple[int, ...] | None  # what each picture shows; null without accuracy
    reference: tuple[int, ...] | None  # what the original says of each; null for a model in fp32
    left_out: int  # how many other pictures there were, which the model was calibrated on
    runs: tuple[ScenarioRun, ...]
