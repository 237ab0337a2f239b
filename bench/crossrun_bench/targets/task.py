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
    """All that a measured process is told, and the Python that runs it."""

    target: str
    model: Model
    pictures: Pictures
    address: str | None = None  # host:port of the server, if the target needs one
    provider: Provider = CPU  # of onnxruntime, in process or in the server
    python: str = sys.executable
    converted: str | None = None  # path of what was made of the original, if the target runs that
    every_class: bool = False  # answers hold all classes, even if the default is the best few

    @property
    def file(self) -> str:
        """The path of what the target runs, if it does not run model.onnx."""
        return self.converted or self.model.original.file

    def __str__(self) -> str:
        """The name in errors."""
        provider = "" if self.provider == CPU else f", {self.provider.label}"
        return f"{self.model.name} on {self.target}{provider}"


class Runner(Protocol):
    """A model that is ready to answer. Its constructor loads it, and raises what is missing."""

    def run(self, batch: Batch) -> Probabilities | Objects:
        """The work that is timed: probabilities [batch, classes] for the pictures of `batch`.

        A detector returns objects instead, [batch, most, 6].
        """
