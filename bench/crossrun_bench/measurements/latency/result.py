"""What `crossrun-bench latency` measures."""

from dataclasses import dataclass

from crossrun_bench.measurements.result import Result
from crossrun_bench.measurements.turns import Turn
from crossrun_bench.models.checked import Checked
from crossrun_bench.models.info import ModelInfo
from crossrun_bench.providers import Provider


@dataclass(frozen=True)
class TargetLatency:
    """What one target did. For a served target start-up and memory are the server's.

    They are null if the server was running before, and is not ours.
    """

    target: str
    startup_ns: int | None  # from the start of the process to its first answer
    peak_rss_bytes: int | None
    turns: tuple[Turn, ...]
    provider: Provider | None = None  # where providers are compared, and the target has one
    onnxruntime: str | None = None  # version where that provider is; with its plugin's, if any
    proof: Checked | None = None  # null in files of before it was looked at


@dataclass(frozen=True)
class LatencyResult(Result):
    """Interleaved turns of some targets."""

    model: ModelInfo
    targets: tuple[TargetLatency, ...]
