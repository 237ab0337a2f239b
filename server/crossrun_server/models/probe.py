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
    """One row, and the lanes that have answered it."""

    opened: OpenedLanes
    inputs: Tensors
    outputs: tuple[str, ...]

    def run(self) -> None:
        """Run every lane; raise what the model raises."""
        self._ask(lane.run for lane in self.opened.lanes)

    def shrink(self) -> None:
        """Run every session on the CPU, so that it keeps no more memory than this row needs."""
        self._ask(self.opened.shrinking)
        self.run()  # which takes again what the next request will need

    def _ask(self, runs: Iterable[Run]) -> None:
        for run in runs:
            run(dict(self.inputs), self.outputs)


def find(opened: OpenedLanes, served: CompletedConfig, folder: Path) -> Probe | None:
    """Return a probe: a row of the first warm-up sample, or zeros.

    Returns:
        None if the model does not answer that either.
    """
    outputs = tuple(spec.name for spec in served.outputs)
    try:
        inputs = next(warmup.requests(served, folder), None) or warmup.zeros(served)
        probe = Probe(opened, inputs, outputs)
        probe.run()
    except Exception:  # noqa: BLE001 - a model may refuse zeros, and a row of a sample
        return None
    return probe
