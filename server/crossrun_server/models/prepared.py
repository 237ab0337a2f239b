"""Opens a version of a model on the providers that it is told, warms it up, and checks its answers.

Nothing that it makes serves yet. Does not know why these providers.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.model_config import probabilities, scores
from crossrun_server.model_config.completion import CompletedConfig
from crossrun_server.model_config.session_config import SessionConfig
from crossrun_server.models import independence, labels, lanes
from crossrun_server.models.answers import answer_check
from crossrun_server.models.lanes import OpenedLanes
from crossrun_server.models.upkeep import probe
from crossrun_server.models.upkeep.probe import Probe
from crossrun_server.models.warmup import noting, warm_up
from crossrun_server.plans.choice import Choice
from crossrun_server.runtime.assignment import Assignment
from crossrun_server.scheduling.batching import Tensors


@dataclass(frozen=True)
class Version:
    """A version's files, and what the server says of how it is loaded."""

    folder: Path  # the model's
    file: Path
    declared: pb.ModelConfig | None  # None if there is no config.pbtxt
    core_count: int
    tolerance: float | None  # of a model that names none; None: the proof's own

    @property
    def completing(self) -> lanes.Complete:
        """What completes the configuration once sessions say what the model takes and returns."""
        return partial(independence.complete_with_batches, self.declared, self.folder, self.file)


@dataclass(frozen=True)
class Prepared:
    """A version that has been warmed up and checked."""

    folder: Path  # the model's
    opened: OpenedLanes
    served: CompletedConfig
    labels: Mapping[str, tuple[str, ...]]
    assignments: tuple[Assignment, ...]
    probe: Probe | None  # what it has answered; None if nothing is known that it answers
    choice: Choice | None = None  # of its provider, if that was measured

    @property
    def metadata(self) -> Mapping[str, str]:
        """The ONNX file's own."""
        return self.opened.sessions[0].metadata


def prepare(version: Version, wanted: SessionConfig) -> Prepared:
    """Open, warm up and check a version.

    Raises:
        LoadError: it cannot run.
        WrongAnswers: it does not run as it was proven.
    """
    file = version.file
    opened = lanes.open_lanes(file, wanted, version.core_count, version.completing)
    served = _with_declared_scores(opened.served, opened.sessions[0].metadata)
    named = _read_labels(version.folder, served, opened.sessions[0].metadata)
    answers = _warm_up(opened, served, version.folder)
    labels.check_answers(named, served, answers)
    evidence = answer_check.check(file, opened, version.tolerance)
    parts = zip(opened.sessions, opened.lanes, evidence, strict=True)
    return Prepared(
        folder=version.folder,
        opened=opened,
        served=_with_doubts(served, answers),
        labels=named,
        assignments=tuple(
            replace(session.assignment, places=lane.places, evidence=one)
            for session, lane, one in parts
        ),
        probe=probe.find(opened, served, version.folder, answers),
    )


def _read_labels(
    folder: Path, served: CompletedConfig, metadata: Mapping[str, str]
) -> dict[str, tuple[str, ...]]:
    named = labels.read(folder, served)
    labels.warn_of_others(named, folder.name, metadata)
    scores.check(served.scores, served.outputs, named)
    return named


def _warm_up(opened: OpenedLanes, served: CompletedConfig, folder: Path) -> Tensors:
    """Run every lane, and return the last answers."""
    answers = Tensors()
    for lane in opened.lanes:
        warm_up(noting(lane.run, answers), served, folder, opened.sizes)
    return answers


def _with_declared_scores(served: CompletedConfig, metadata: Mapping[str, str]) -> CompletedConfig:
    """Add what the file itself says of its scores."""
    return replace(served, scores=scores.settle(served.scores, metadata))


def _with_doubts(served: CompletedConfig, answers: Tensors) -> CompletedConfig:
    """Add why the first answers are not probabilities, for scores whose head is unknown."""
    doubts = probabilities.doubts(served.outputs, answers)
    return replace(served, scores=replace(served.scores, doubts=doubts))
