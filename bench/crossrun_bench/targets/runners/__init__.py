"""What every measured runtime looks like: built from a task, then `run` on one batch at a time.

Each runner is one small module, imported only in the child process that measures it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.models.model import Model
from crossrun_bench.pictures.pictures import Batch, Pictures
from crossrun_bench.providers import CPU, Provider

if TYPE_CHECKING:
    from collections.abc import Mapping

Probabilities = NDArray[np.float32]
Objects = NDArray[np.float32]  # see `packed`


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


def packed(outputs: Mapping[str, NDArray[Any]]) -> Objects:
    """A detector's four outputs as one array, float32 [batch, most, 6], zero past the last object.

    Of each object ymin, xmin, ymax, xmax, score and class.
    """
    scores, count = outputs["detection_scores"], outputs["num_detections"].reshape(-1, 1)
    columns = (
        outputs["detection_boxes"],
        scores[..., None],
        outputs["detection_classes"][..., None],
    )
    found: Objects = np.concatenate(columns, axis=2, dtype=np.float32)
    found[np.arange(found.shape[1]) >= count] = 0
    return found
