"""What every measured runtime looks like: built from a task, then `run` on one batch at a time.

Each runner is one small module, imported only in the child process that measures it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.model import Model
from crossrun_bench.pictures import Batch, Pictures
from crossrun_bench.providers import CPU, Provider

Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """What a measured process runs in, and all that it is told."""

    target: str
    model: Model
    pictures: Pictures
    address: str | None = None  # host:port of the server, for the targets that need one
    provider: Provider = CPU  # of onnxruntime, in process or in the server
    python: str = sys.executable
    converted: str | None = None  # path of what the source was converted to, where that is run

    def __str__(self) -> str:
        """As errors name it."""
        provider = "" if self.provider == CPU else f", {self.provider.label}"
        return f"{self.model.name} on {self.target}{provider}"


class Runner(Protocol):
    """A loaded model, ready to answer. Building it loads it; what is missing is raised there."""

    def run(self, batch: Batch) -> Probabilities:
        """Probabilities [batch, classes] for the pictures of `batch`: the work that is timed."""
