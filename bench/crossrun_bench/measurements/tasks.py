"""What the processes of load and throughput are told. Imports nothing that they measure."""

from dataclasses import dataclass

from crossrun_bench.models.model import Model
from crossrun_bench.providers import Provider

CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CUDA", "Tensorrt"))
WAYS = ("plain", "bound", "graph")


@dataclass(frozen=True)
class Request:
    """What is asked, and the right answer; arrays as .npy files."""

    model: Model
    pixels: str  # uint8 [1, H, W, 3]
    expected: str  # float32 [1, classes]
    encoded: str = ""  # the same picture as JPEG, for requests of this form


@dataclass(frozen=True)
class Session:
    """How the file is run: one session, which `callers` threads call at the same time."""

    model: Model
    pixels: str  # .npy, uint8 [1, H, W, 3]
    threads: int  # of the session
    callers: int
    spin_us: int | None  # how long its threads spin for work; null for the default

    def __str__(self) -> str:
        """The name in reports: sessions that work at once, times threads of each."""
        spin = "" if self.spin_us is None else f", spin {self.spin_us} µs"
        return f"in process {self.callers}x{self.threads}{spin}"


@dataclass(frozen=True)
class OnProvider:
    """How the file is run: one session on a provider, which `callers` threads call at once.

    Bound: with buffers on the device. Graph: also as one CUDA graph.
    """

    model: Model
    provider: Provider
    pixels: str  # .npy, uint8 [some, H, W, 3], to fill batches with
    way: str  # one of WAYS
    callers: int
    threads: int  # of the session, on the CPU

    def __str__(self) -> str:
        """The name in errors: callers times threads."""
        return f"{self.way} {self.callers}x{self.threads}"
