"""What `crossrun-bench throughput` measures."""

from dataclasses import dataclass

from crossrun_bench.measurements.result import Result
from crossrun_bench.models.checked import Checked
from crossrun_bench.models.info import ModelInfo


@dataclass(frozen=True)
class AloneTurn:
    """Runs of a model in process, by callers that run all the time."""

    way: str  # plain, bound or graph
    batch: int  # rows of a run
    callers: int
    threads: int  # of the session, on the CPU
    round: int  # from 1
    ns: tuple[int, ...]  # how long each run took
    core_to_core_ns: int | None = None  # just before, see `core_to_core`; null if not known


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
    core_to_core_ns: int | None = None  # just before, see `core_to_core`; null if not known


@dataclass(frozen=True)
class ProviderThroughput:
    """One execution provider, in process and in our server."""

    provider: str  # as people type it
    missing: str | None  # why it cannot run here; null if it can
    max_batch_size: int  # rows that the server takes in a request
    alone: tuple[AloneTurn, ...]
    served: tuple[ServedTurn, ...]
    failures: tuple[str, ...]  # what could not be measured, each as a sentence
    precision: str = ""  # that it was told to compute fp32 in; "" if unsaid
    proof: Checked | None = None  # the worst way to run it; null if nothing was looked at


@dataclass(frozen=True)
class ThroughputResult(Result):
    """Rows a second on some execution providers, by batch size."""

    cards: tuple[str, ...]  # graphics cards and their drivers, as nvidia-smi names them
    model: ModelInfo
    providers: tuple[ProviderThroughput, ...]
