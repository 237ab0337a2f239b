"""What `crossrun-bench load` measures."""

from dataclasses import dataclass

from crossrun_bench.measurements.result import Result
from crossrun_bench.models.info import ModelInfo


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
    server_cpu_ns: int | None  # of all processes of the server; null if they aren't ours
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
    core_to_core_ns: int | None = None  # just before, see `core_to_core`; null if not known


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
class LoadResult(Result):
    """Interleaved turns of servers under load, one picture a request."""

    model: ModelInfo
    neighbour: bool  # whether another process kept one core busy all the time
    targets: tuple[LoadTarget, ...]
    arrivals: str = ""  # of open loops: poisson or constant
    objective: Objective | None = None  # what probes held a rate to
    processes: int = 1  # that asked
