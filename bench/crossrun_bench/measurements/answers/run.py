"""A run over many pictures: asks all targets, and continues after an interruption.

Knows nothing of what the pictures show.
"""

import hashlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic

from crossrun_bench.machine.machine import Machine
from crossrun_bench.measurements.answers.gathering import CHUNK, Read, ask, chunks, joined, ready
from crossrun_bench.measurements.answers.partial import Partial, Said
from crossrun_bench.models.model import Model
from crossrun_bench.pictures.prepare import drawn
from crossrun_bench.progress import bar, say
from crossrun_bench.targets.subjects import Asked, subjects_of


@dataclass(frozen=True)
class AccuracyPlan:
    """What to compare: targets, the reference first, on the pictures of a folder or "bundled"."""

    asked: Asked
    images: str
    output: Path | None  # where the result will be, beside which unfinished answers are kept
    skip_unknown: bool = False  # whether to pass over pictures whose folder is no class


@dataclass(frozen=True)
class Run(Generic[Said]):
    """The pictures of a run, how answers to them are read and how they are kept."""

    files: Sequence[Path]
    names: Sequence[str]
    read: Read[Said]
    line: Callable[..., Any]  # see `Partial`


def answers(
    plan: AccuracyPlan, model: Model, run: Run[Said], before: Machine, folder: Path
) -> list[tuple[Said, ...]]:
    """Of each target to all pictures, from what is kept of an interrupted run and by asking."""
    partial: Partial[Said] = Partial(plan.output, _same(plan, model, run, before), run.line)
    steps = 1 + len(plan.asked.targets)
    with ExitStack() as stack:
        step = stack.enter_context(bar(len(run.files) * steps))
        if done := sum(len(chunk[0]) for chunk in partial.chunks):
            step("going on", done * steps)
            say(f"going on after {done:,} of {len(run.files):,} pictures")
        pictures = drawn(folder, 1, model.height, model.width)
        subjects = subjects_of(plan.asked, model, pictures, folder, stack)
        tasks = [replace(subject.task, every_class=True) for subject in subjects]
        children = ready(tasks, stack)
        for files in list(chunks(run.files))[len(partial.chunks) :]:
            partial.append(ask(children, files, folder, step, run.read))
    return joined(partial.chunks)


def _same(plan: AccuracyPlan, model: Model, run: Run[Said], before: Machine) -> dict[str, Any]:
    """What has to be the same for answers to belong together: of pictures, names and sizes."""
    pairs = zip(run.names, run.files, strict=True)
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
