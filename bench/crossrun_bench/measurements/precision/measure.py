"""`crossrun-bench precision`: what fp32, int8 and fp16 of one model cost, in speed and answers."""

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from crossrun_bench.errors import BenchError
from crossrun_bench.machine import machine
from crossrun_bench.measurements.answers.classes import asked
from crossrun_bench.measurements.answers.comparison import Comparison, TargetAnswers
from crossrun_bench.measurements.answers.gathering import ready
from crossrun_bench.measurements.precision.result import MeasuredModel, PrecisionResult, Precisions
from crossrun_bench.measurements.rounds import TURN_S, Child, Pace, interleaved, started
from crossrun_bench.measurements.turns import Turn
from crossrun_bench.models.info import about
from crossrun_bench.models.model import PRECISIONS, Model
from crossrun_bench.models.repository import exported, read_labels, read_model
from crossrun_bench.pictures.pictures import Pictures
from crossrun_bench.pictures.prepare import drawn
from crossrun_bench.progress import Step, bar
from crossrun_bench.targets.choice import reference
from crossrun_bench.targets.environments import Backend
from crossrun_bench.targets.examples import Examples, examples, folder_of
from crossrun_bench.targets.task import Task

Group = Sequence[Model]  # the precisions of one source, fp32 first

_TARGET = "onnxruntime"


@dataclass(frozen=True)
class PrecisionPlan:
    """What to measure: models, pictures to judge the answers by, a provider, how many rounds."""

    models: Path
    names: Sequence[str]  # none for all
    images: str | None  # a folder or "bundled"; None to leave the answers alone
    backend: Backend
    pace: Pace
    skip_unknown: bool = False  # whether to pass over pictures whose folder is no class


def measure(plan: PrecisionPlan, command: str) -> PrecisionResult:
    """Time all models in interleaved rounds, then ask those of each source what pictures show.

    Raises:
        BenchError: something cannot be read, started or run.
    """
    names = plan.names or exported(plan.models)
    groups = _grouped([read_model(plan.models, name) for name in names])
    before = machine.describe()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = _examples(groups, plan, folder)
        step = stack.enter_context(bar(_total(groups, found, plan.pace)))
        turns = _turns(groups, plan, step)
        answers = [
            _compared(group, shown, plan.backend, folder, step) if shown else None
            for group, shown in zip(groups, found, strict=True)
        ]
    sources = [_precisions(group, turns, said) for group, said in zip(groups, answers, strict=True)]
    return PrecisionResult(
        command,
        machine.finished(before),
        plan.backend.provider,
        tuple(sources),
        plan.backend.onnxruntime,
    )


def _grouped(models: Sequence[Model]) -> list[Group]:
    """The models of each source, in the order in which precisions are shown."""
    groups: dict[tuple[str, str], list[Model]] = defaultdict(list)
    for model in models:
        source = model.source
        if not {"model", "sha256"} <= source.keys():
            raise BenchError(f"{model.onnx}: expected 'model' and 'sha256' in its crossrun.source")
        groups[source["model"], source["sha256"]].append(model)
    return [sorted(g, key=lambda model: PRECISIONS.index(model.precision)) for g in groups.values()]


def _examples(groups: Sequence[Group], plan: PrecisionPlan, folder: Path) -> list[Examples | None]:
    """For each group, pictures that none of its models was calibrated on; none for a detector."""
    if plan.images is None:
        return [None for _ in groups]
    if all(group[0].detector for group in groups):
        told = "is a detector: `crossrun-bench accuracy` compares boxes"
        raise BenchError(f"--images '{plan.images}': {groups[0][0].name} {told}")
    source = folder_of(plan.images, folder)
    return [None if g[0].detector else _unseen(source, g, plan) for g in groups]


def _unseen(source: Path, group: Group, plan: PrecisionPlan) -> Examples:
    calibrated = {digits for model in group for digits in model.calibrated_on}
    labels = read_labels(plan.models, group[0].name)
    return examples(source, labels, calibrated, skip_unknown=plan.skip_unknown)


def _total(groups: Sequence[Group], found: Sequence[Examples | None], pace: Pace) -> int:
    """Steps, if no round is left out: starts, turns, and each picture decoded and asked about."""
    timed = sum(len(group) for group in groups) * (pace.most + 2)
    pairs = zip(groups, found, strict=True)
    return timed + sum((len(group) + 2) * len(shown.files) for group, shown in pairs if shown)


def _turns(groups: Sequence[Group], plan: PrecisionPlan, step: Step) -> dict[str, list[Turn]]:
    """Turns of all models of all groups, by name: one process each, one picture a request."""
    turns: dict[str, list[Turn]] = defaultdict(list)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        children: list[Child] = []
        for task in _timed(groups, plan.backend, folder):
            children.append(stack.enter_context(started(task)))
            children[-1].hear()  # ready
            step(f"starting {task.model.name}")
        for child, turn in interleaved(children, 1, plan.pace, TURN_S):
            turns[child.task.model.name].append(turn)
            step(f"round {turn.round}: {child.task.model.name}")
    return turns


def _timed(groups: Sequence[Group], backend: Backend, folder: Path) -> list[Task]:
    tasks: list[Task] = []
    for model in (model for group in groups for model in group):
        inside = folder / model.name
        inside.mkdir()
        pictures = drawn(inside, 1, model.height, model.width)
        tasks.append(_task(model, pictures, backend))
    return tasks


def _task(model: Model, pictures: Pictures, backend: Backend) -> Task:
    return Task(_TARGET, model, pictures, provider=backend.provider, python=backend.python)


def _compared(
    group: Group, shown: Examples, backend: Backend, folder: Path, step: Step
) -> Comparison:
    """What the original and each model of a group say of the same pictures."""
    first, original = group[0], reference(group[0])
    pictures = drawn(folder, 1, first.height, first.width)
    tasks = [Task(original, first, pictures)]
    tasks += [_task(model, pictures, backend) for model in group]
    names = (original, *(model.name for model in group))
    with ExitStack() as stack:
        answers = asked(ready(tasks, stack), shown.files, folder, step)
    return Comparison(
        pictures=shown.names,
        labels=shown.labels,
        unlabelled=shown.unlabelled,
        left_out=shown.left_out,
        targets=tuple(map(TargetAnswers, names, answers)),
    )


def _precisions(
    group: Group, turns: dict[str, list[Turn]], answers: Comparison | None
) -> Precisions:
    measured = (
        MeasuredModel(about(model), Path(model.onnx).stat().st_size, tuple(turns[model.name]))
        for model in group
    )
    return Precisions(tuple(measured), answers)
