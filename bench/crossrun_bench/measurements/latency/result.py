"""What `crossrun-bench latency` measures."""

from dataclasses import dataclass

from crossrun_bench.machine.machine import Machine
from crossrun_bench.models.checked import Checked
from crossrun_bench.models.info import ModelInfo
from crossrun_bench.providers import Provider


@dataclass(frozen=True)
class Turn:
    """One target's requests, one after another, until its time was up."""

    batch: int  # pictures in each request
    round: int  # from 1; 0 is the turn that warms up and counts nowhere
    started_ns: int  # monotonic clock, the same for all turns of a file
    warmup: int  # how many of `ns`, from the first, are warm-ups
    ns: tuple[int, ...]  # how long each request took
    core_to_core_ns: int | None = None  # just before, see `core_to_core`; null where not known


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
    proof: Checked | None = None  # null in files of before it was looked at


@dataclass(frozen=True)
class LatencyResult:
    """Interleaved turns of some targets."""

    command: str
    machine: Machine
    model: ModelInfo
    targets: tuple[TargetLatency, ...]
