"""A request that a model has answered before it served.

If it fails later, the model fails, and not what callers send. Knows lanes as plain functions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crossrun_server.model_config.completion import CompletedConfig
from crossrun_server.models import warmup
from crossrun_server.scheduling.batching import Run, Tensors
from crossrun_server.scheduling.places import Lane


@dataclass(frozen=True)
class Probe:
    """One row, and the lanes that have answered it."""

    lanes: tuple[Lane, ...]
    inputs: Tensors
    outputs: tuple[str, ...]

    def run(self) -> None:
        """Run every lane; raise what the model raises."""
        for lane in self.lanes:
            ask(lane.run, self)


def ask(run: Run, probe: Probe) -> None:
    """Run the request of a probe once."""
    run(dict(probe.inputs), probe.outputs)


def find(lanes: tuple[Lane, ...], served: CompletedConfig, folder: Path) -> Probe | None:
    """Return a probe: a row of the first warm-up sample, or zeros.

    Returns:
        None if the model does not answer that either.
    """
    outputs = tuple(spec.name for spec in served.outputs)
    try:
        inputs = next(warmup.requests(served, folder), None) or warmup.zeros(served)
        probe = Probe(lanes, inputs, outputs)
        probe.run()
    except Exception:  # noqa: BLE001 - a model may refuse zeros, and a row of a sample
        return None
    return probe
