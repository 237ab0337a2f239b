"""What the processes of `throughput` are told. Imports none of what they measure."""

from dataclasses import dataclass

from crossrun_bench.models.model import Model
from crossrun_bench.providers import Provider

CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CUDA", "Tensorrt"))
WAYS = ("plain", "bound", "graph")


@dataclass(frozen=True)
class OnProvider:
    """How the file is run: one session on a provider, which `callers` threads call at once.

    Bound: on buffers of the device that are copied to and from. Graph: as one CUDA graph, too.
    """

    model: Model
    provider: Provider
    pixels: str  # .npy, uint8 [some, H, W, 3], to fill batches with
    way: str  # one of WAYS
    callers: int
    threads: int  # of the session, on the CPU

    def __str__(self) -> str:
        """As errors name it: callers times threads."""
        return f"{self.way} {self.callers}x{self.threads}"
