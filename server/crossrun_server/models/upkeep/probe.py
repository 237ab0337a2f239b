"""A request that a model has answered before it served.

If it fails later, the model fails, and not what callers send. Knows lanes as plain functions.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crossrun_server.model_config.completion import CompletedConfig
from crossrun_server.models import warmup
from crossrun_server.models.lanes import OpenedLanes
from crossrun_server.scheduling.batching import Run, Tensors


@dataclass(frozen=True)
class Probe:
    """A request, and the lanes that have answered it."""

    opened: OpenedLanes
    inputs: Tensors
    outputs: tuple[str, ...]

    def run(self) -> None:
        """Run every lane; raise what the model raises."""
        self._ask(lane.run for lane in self.opened.lanes)

    def shrink(self) -> None:
        """Run every session on the CPU, so that it keeps no more memory than this needs."""
        self._ask(self.opened.shrinking)
        self.run()  # which takes again what the next request will need

    def _ask(self, runs: Iterable[Run]) -> None:
        for run in runs:
            run(dict(self.inputs), self.outputs)


def find(
    opened: OpenedLanes, served: CompletedConfig, folder: Path, answers: Tensors
) -> Probe | None:
    """Return a probe: the first warm-up sample, or zeros.

    Args:
        opened: the model's lanes, warmed up.
        served: its configuration.
        folder: the model's.
        answers: what the warm-up returned; empty if the model refuses zeros.

    Returns:
        None if nothing is known that the model answers.
    """
    if not answers:
        return None
    inputs = warmup.first_sample(served, folder) or warmup.zeros(served)
    return Probe(opened, inputs, tuple(spec.name for spec in served.outputs))
