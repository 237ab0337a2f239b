"""The subjects of a measurement: each target, on each provider, with the server that it needs."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from crossrun_bench.models.model import Model
from crossrun_bench.pictures.pictures import Pictures
from crossrun_bench.processes.serving import Server, serving
from crossrun_bench.targets.choice import check_runs
from crossrun_bench.targets.convert import converted
from crossrun_bench.targets.environments import Backend
from crossrun_bench.targets.targets import TARGETS, label
from crossrun_bench.targets.task import Task


@dataclass(frozen=True)
class Asked:
    """The targets of one model that are asked for; `server` is the address of a running server."""

    models: Path
    name: str
    targets: Sequence[str]
    server: str | None = None
    backends: Sequence[Backend] = ()  # execution providers to compare; none means only the CPU
    proof_tolerance: float | None = None  # so far off a target may be and is still measured

    @property
    def rows(self) -> int:
        """How many subjects there are."""
        many = len(self.backends) or 1
        return sum(many if TARGETS[target].on_provider else 1 for target in self.targets)


@dataclass(frozen=True)
class Subject:
    """A target on one of the compared providers, and the server of ours that it needs."""

    task: Task
    backend: Backend | None = None
    server: Server | None = None

    def __str__(self) -> str:
        """The name in tables."""
        return label(self.task.target, self.backend.provider if self.backend else None)


def subjects_of(
    asked: Asked, model: Model, pictures: Pictures, folder: Path, stack: ExitStack
) -> list[Subject]:
    """The subjects: one for each target, or for each target and provider.

    Their servers end with `stack`, and converted models go into `folder`.

    Raises:
        BenchError: something cannot be started or converted.
    """
    for target in asked.targets:
        check_runs(target, model)
    pairs = [(backend, _server(asked, backend, stack)) for backend in asked.backends or (None,)]
    subjects = [
        _subject(Task(target, model, pictures), asked, backend, server)
        for target in asked.targets
        for backend, server in (pairs if TARGETS[target].on_provider else [(None, None)])
    ]
    tasks = converted([subject.task for subject in subjects], folder)
    return [replace(one, task=task) for one, task in zip(subjects, tasks, strict=True)]


def _server(asked: Asked, backend: Backend | None, stack: ExitStack) -> Server | None:
    """A server with all options that the targets need, or None if no target needs a server."""
    targets = [TARGETS[target] for target in asked.targets]
    if not any(target.served for target in targets):
        return None
    wanted = tuple(dict.fromkeys(o for target in targets for o in target.server_options))
    if asked.proof_tolerance is not None:
        wanted += ("--proof-tolerance", str(asked.proof_tolerance))
    started = (
        serving(asked.models, asked.name, backend.provider, backend.python, wanted)
        if backend
        else serving(asked.models, asked.name, options=wanted)
    )
    return stack.enter_context(started)


def _subject(task: Task, asked: Asked, backend: Backend | None, server: Server | None) -> Subject:
    """A server's client runs in this environment, whichever environment the server runs in."""
    target = TARGETS[task.target]
    own = server if target.served else None
    if backend:
        python = task.python if own else backend.python
        task = replace(task, provider=backend.provider, python=python)
    if own or target.remote:
        task = replace(task, address=own.address if own else asked.server)
    return Subject(task, backend, own)
