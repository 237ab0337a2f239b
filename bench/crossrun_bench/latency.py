"""`crossrun-bench latency`: how long each target takes for the same pictures, side by side."""

from __future__ import annotations

import tempfile
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from crossrun_bench import machine
from crossrun_bench.prepare import drawn
from crossrun_bench.progress import bar
from crossrun_bench.repository import read_model
from crossrun_bench.results import LatencyResult, TargetLatency, Turn, about
from crossrun_bench.rounds import TURN_S, Child, Pace, interleaved, started
from crossrun_bench.runners import Task
from crossrun_bench.serving import Server, serving
from crossrun_bench.targets import TARGETS, label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crossrun_bench.environments import Backend
    from crossrun_bench.model import Model
    from crossrun_bench.pictures import Pictures
    from crossrun_bench.progress import Step


@dataclass(frozen=True)
class Plan:
    """What to measure: targets, pictures in a request, how many rounds, on which providers."""

    models: Path
    name: str
    targets: Sequence[str]
    batches: Sequence[int]
    pace: Pace
    backends: Sequence[Backend] = ()  # to compare; none for the CPU alone


@dataclass(frozen=True)
class Subject:
    """What has a row: a target, on one of the providers that are compared, through its server."""

    target: str
    backend: Backend | None = None
    server: Server | None = None

    def __str__(self) -> str:
        """As tables name it."""
        return label(self.target, self.backend.provider if self.backend else None)

    def task(self, model: Model, pictures: Pictures) -> Task:
        """What its process is told; a client of a server runs in this environment."""
        address = self.server.address if self.server else None
        task = Task(self.target, model, pictures, address)
        if self.backend is None:
            return task
        python = task.python if self.server else self.backend.python
        return replace(task, provider=self.backend.provider, python=python)


def measure(plan: Plan, command: str) -> LatencyResult:
    """Measure all targets at each batch size, in interleaved rounds.

    BenchError where anything cannot be read, started or run.
    """
    model = read_model(plan.models, plan.name)
    before = machine.describe()
    with ExitStack() as stack:
        step = stack.enter_context(bar(_total(plan)))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pictures = drawn(folder, max(plan.batches), model.height, model.width)
        subjects = _subjects(plan, stack)
        children, startups = _start(subjects, model, pictures, stack, step)
        turns = _turns(children, subjects, plan, step)
        peaks = list(map(_peak, subjects, children))
    measured = tuple(map(_measured, subjects, startups, peaks, turns))
    return LatencyResult(command, machine.finished(before), about(model), measured)


def _subjects(plan: Plan, stack: ExitStack) -> list[Subject]:
    """A row for each target, or one on each provider, with a server for each that needs one."""
    served = any(TARGETS[target].served for target in plan.targets)
    pairs = [
        (backend, stack.enter_context(_serving(plan.models, backend)) if served else None)
        for backend in plan.backends or (None,)
    ]
    subjects: list[Subject] = []
    for target in plan.targets:
        if TARGETS[target].served:
            subjects += [Subject(target, backend, server) for backend, server in pairs]
        elif TARGETS[target].on_provider:
            subjects += [Subject(target, backend) for backend, _ in pairs]
        else:
            subjects.append(Subject(target))
    return subjects


def _serving(models: Path, backend: Backend | None) -> AbstractContextManager[Server]:
    return serving(models, backend.provider, backend.python) if backend else serving(models)


def _start(
    subjects: Sequence[Subject], model: Model, pictures: Pictures, stack: ExitStack, step: Step
) -> tuple[list[Child], list[int]]:
    """All children, asleep, in the order of `subjects`, and start-up times in nanoseconds.

    Each starts alone, so that its time is its own, but for the slow ones: they start together.
    """
    children: dict[int, Child] = {}
    startups: dict[int, int] = {}
    slow = [i for i, subject in enumerate(subjects) if TARGETS[subject.target].slow_start]
    alone = [[i] for i in range(len(subjects)) if i not in slow]
    for group in [*alone, slow]:
        for i in group:
            step(f"starting {subjects[i]}")
            children[i] = stack.enter_context(started(subjects[i].task(model, pictures)))
        for i in group:
            startups[i] = _startup(subjects[i], children[i])
    order = range(len(subjects))
    return [children[i] for i in order], [startups[i] for i in order]


def _total(plan: Plan) -> int:
    """Steps, if no round is left out: one start and some turns for each row."""
    many = len(plan.backends) or 1
    rows = sum(many if TARGETS[target].on_provider else 1 for target in plan.targets)
    return rows * (1 + len(plan.batches) * (plan.pace.most + 1))


def _turns(
    children: Sequence[Child], subjects: Sequence[Subject], plan: Plan, step: Step
) -> list[list[Turn]]:
    turns: list[list[Turn]] = [[] for _ in children]
    for batch in plan.batches:
        for child, turn in interleaved(children, batch, plan.pace, TURN_S):
            i = children.index(child)
            turns[i].append(turn)
            step(f"batch {batch}, round {turn.round}: {subjects[i]}")
    return turns


def _startup(subject: Subject, child: Child) -> int:
    """Process start to first answer; of the server, where that is what is measured."""
    ready = child.hear()
    if subject.server:
        return subject.server.startup_ns + int(ready["first_ns"])
    return int(ready["ready_ns"]) - child.started_ns


def _peak(subject: Subject, child: Child) -> int:
    return machine.peak_rss(subject.server.pid if subject.server else child.process.pid)


def _measured(subject: Subject, startup_ns: int, peak: int, turns: list[Turn]) -> TargetLatency:
    found = TargetLatency(subject.target, startup_ns, peak, tuple(turns))
    if subject.backend is None:
        return found
    told = subject.backend
    return replace(found, provider=told.provider, onnxruntime=told.onnxruntime)
