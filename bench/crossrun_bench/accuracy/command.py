"""`crossrun-bench accuracy`: do all targets see the same in the same pictures, and is it right?"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossrun_bench import machine
from crossrun_bench.accuracy.answers import CHUNK, asked, chunks, joined, ready
from crossrun_bench.accuracy.differences import shown
from crossrun_bench.accuracy.partial import Partial
from crossrun_bench.examples import examples, folder_of
from crossrun_bench.prepare import drawn, thumbnail
from crossrun_bench.progress import bar
from crossrun_bench.repository import read_labels, read_model
from crossrun_bench.results import AccuracyResult, TargetAnswers, about
from crossrun_bench.tasks import Asked, subjects_of

if TYPE_CHECKING:
    from crossrun_bench.examples import Examples
    from crossrun_bench.machine import Machine
    from crossrun_bench.model import Model
    from crossrun_bench.results import Answer


@dataclass(frozen=True)
class Plan:
    """What to compare: targets, the reference first, on the pictures of a folder or "bundled"."""

    asked: Asked
    images: str
    output: Path | None  # where the result will be, beside which unfinished answers are kept


def measure(plan: Plan, command: str) -> AccuracyResult:
    """Compare all targets on the same pictures; an interrupted run goes on where it stopped.

    Pictures that the model was calibrated on are left out: of those it knows too much.
    BenchError where anything cannot be read, started or run.
    """
    model = read_model(plan.asked.models, plan.asked.name)
    labels = read_labels(plan.asked.models, plan.asked.name)
    before = machine.describe()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        found = examples(folder_of(plan.images, folder), labels, model.calibrated_on)
        answers = _answers(plan, model, found, before, folder)
        result = AccuracyResult(
            command=command,
            machine=machine.finished(before),
            model=about(model),
            pictures=found.names,
            labels=found.labels,
            unlabelled=found.unlabelled,
            left_out=found.left_out,
            class_names=labels,
            targets=tuple(map(TargetAnswers, plan.asked.targets, answers)),
        )
        return _illustrated(result, found)


def _answers(
    plan: Plan, model: Model, found: Examples, before: Machine, folder: Path
) -> list[tuple[Answer, ...]]:
    """Of each target to all pictures, from what is kept of an interrupted run and by asking."""
    partial = Partial(plan.output, _run(plan, model, found, before))
    steps = 1 + len(plan.asked.targets)
    with ExitStack() as stack:
        step = stack.enter_context(bar(len(found.files) * steps))
        if done := sum(len(chunk[0]) for chunk in partial.chunks):
            step("going on", done * steps)
            _say(f"going on after {done:,} of {len(found.files):,} pictures")
        pictures = drawn(folder, 1, model.height, model.width)
        subjects = subjects_of(plan.asked, model, pictures, folder, stack)
        children = ready([subject.task for subject in subjects], stack)
        for files in list(chunks(found.files))[len(partial.chunks) :]:
            partial.append(asked(children, files, folder, step))
    return joined(partial.chunks)


def _say(text: str) -> None:
    print(f"crossrun-bench: {text}", file=sys.stderr)  # noqa: T201 - the command's own output


def _run(plan: Plan, model: Model, found: Examples, before: Machine) -> dict[str, Any]:
    """What has to be the same for answers to belong together: of pictures, names and sizes."""
    pairs = zip(found.names, found.files, strict=True)
    listed = "".join(f"{name} {file.stat().st_size}\n" for name, file in pairs)
    return {
        "model": model.sha256,
        "targets": plan.asked.targets,
        "server": plan.asked.server,
        "pictures": hashlib.sha256(listed.encode()).hexdigest(),
        "chunk": CHUNK,
        "cpu": before.cpu,
        "versions": before.versions,
    }


def _illustrated(result: AccuracyResult, found: Examples) -> AccuracyResult:
    """With small pictures of those whose first class differs most: a report is made elsewhere."""
    names = dict.fromkeys(result.pictures[flip.picture] for flip in shown(result))
    files = dict(zip(found.names, found.files, strict=True))
    return replace(result, thumbnails={name: thumbnail(files[name]) for name in names})
