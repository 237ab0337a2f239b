"""What a load is to be: which servers, how many clients or requests a second, for how long."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.load import slo
from crossrun_bench.measurements.load.result import Objective
from crossrun_bench.targets.targets import IN_PROCESS

REST = ("rest-binary", "rest-json")
FORMS = ("raw", "typed", "shm", "jpeg", *REST)  # of requests
OF_DETECTORS = ("raw", "typed")
WARM_S = 0.5  # before a turn is counted, or half of the turn where that is shorter
SPARE = 1.2  # times the requests that a probe needs, for arrivals are random


@dataclass(frozen=True)
class Load:
    """So many clients in a closed loop, or so many requests a second in an open one."""

    clients: int = 0
    rate: float | None = None
    arrivals: str = ""

    def __str__(self) -> str:
        """As the progress bar names it."""
        return f"{self.clients} clients" if self.rate is None else f"{self.rate:.0f} a second"


@dataclass(frozen=True)
class Time:
    """Seconds of a turn: those before it is counted, and those that are."""

    warm: float
    counted: float


@dataclass(frozen=True)
class LoadPlan:
    """What to measure: a model, under which loads, which servers beside ours."""

    models: Path
    name: str
    clients: Sequence[int]
    rounds: int
    seconds: float  # a turn
    forms: Sequence[str] = ("raw",)  # in which our server is asked
    runtimes: Sequence[str] = ()  # targets in process
    peers: Sequence[str] = ()
    servers: dict[str, str] = field(default_factory=dict)  # address of each that runs, by name
    neighbour: bool = False
    rates: Sequence[float] = ()  # requests a second, of open loops
    arrivals: str = "poisson"
    objective: Objective | None = None  # to find the highest rate for
    processes: int = 1  # that ask

    def __post_init__(self) -> None:
        """Checks the names of forms and targets.

        Raises:
            BenchError: a form of requests is unknown, or a target does not run in process.
        """
        if not self.forms or not set(self.forms) <= set(FORMS):
            asked = ",".join(self.forms)
            raise BenchError(f"--form '{asked}': expected some of {', '.join(FORMS)}")
        if not set(self.runtimes) <= set(IN_PROCESS):
            asked = ",".join(self.runtimes)
            raise BenchError(f"--targets '{asked}': expected some of {', '.join(IN_PROCESS)}")

    @property
    def loads(self) -> list[Load]:
        """Those of each round, closed loops first."""
        closed = [Load(clients=clients) for clients in self.clients]
        return closed + [Load(rate=rate, arrivals=self.arrivals) for rate in self.rates]

    @property
    def time(self) -> Time:
        """Of a turn of the rounds."""
        return _time(self.seconds)

    def probing(self, rate: float) -> Time:
        """Of a probe: enough for its percentile."""
        needed = SPARE * slo.needed(self.objective) / rate if self.objective else 0
        return _time(max(self.seconds, needed))


def _time(seconds: float) -> Time:
    return Time(min(WARM_S, seconds / 2), seconds)
