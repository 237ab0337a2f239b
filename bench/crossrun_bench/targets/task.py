"""A task, which is all that a measured process is told, and the runner that is built from it.

Knows no runtime: each runner is a small module of `runners`.
"""

import sys
from dataclasses import dataclass
from typing import Protocol

from crossrun_bench.models.model import Model, Objects, Probabilities
from crossrun_bench.pictures.pictures import Batch, Pictures
from crossrun_bench.providers import CPU, Provider


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
    every_class: bool = False  # an answer has all of them, also where one gets the best unasked

    def __str__(self) -> str:
        """As errors name it."""
        provider = "" if self.provider == CPU else f", {self.provider.label}"
        return f"{self.model.name} on {self.target}{provider}"


class Runner(Protocol):
    """A loaded model, ready to answer. Building it loads it; what is missing is raised there."""

    def run(self, batch: Batch) -> Probabilities | Objects:
        """Probabilities [batch, classes] for the pictures of `batch`: the work that is timed.

        Of a detector objects instead, [batch, most, 6].
        """
