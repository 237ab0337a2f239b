"""What is measured, and what each measured process is told: model, pictures, and whom to ask."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from crossrun_bench.models.model import Model
from crossrun_bench.pictures.pictures import Pictures
from crossrun_bench.processes.serving import Server, serving
from crossrun_bench.targets.convert import converted
from crossrun_bench.targets.environments import Backend
from crossrun_bench.targets.targets import TARGETS, check_detects, label
from crossrun_bench.targets.task import Task


@dataclass(frozen=True)
class Asked:
    """Targets of one model; `server` is the address of a running one, for those that need it."""

    models: Path
    name: str
    targets: Sequence[str]
    server: str | None = None
    backends: Sequence[Backend] = ()  # execution providers to compare; none for the CPU alone
    proof_tolerance: float | None = None  # what may be off by so much is measured, too

    @property
    def rows(self) -> int:
        """How many subjects there are."""
        many = len(self.backends) or 1
        return sum(many if TARGETS[target].on_provider else 1 for target in self.targets)


@dataclass(frozen=True)
class Subject:
    """A target, on one of the providers that are compared, through the server of ours it needs."""

    task: Task
    backend: Backend | None = None
    server: Server | None = None

    def __str__(self) -> str:
        """As tables name it."""
        return label(self.task.target, self.backend.provider if self.backend else None)


def subjects_of(
    asked: Asked, model: Model, pictures: Pictures, folder: Path, stack: ExitStack
) -> list[Subject]:
    """One for each target, or one on each provider; their servers end with `stack`.

    `folder` takes what is converted. BenchError where anything cannot be started or converted.
    """
    if model.detector:
        for target in asked.targets:
            check_detects(target)
    pairs = [(backend, _server(asked, backend, stack)) for backend in asked.backends or (None,)]
    return [
        _subject(Task(target, model, pictures), asked, backend, server, folder)
        for target in asked.targets
        for backend, server in (pairs if TARGETS[target].on_provider else [(None, None)])
    ]


def _server(asked: Asked, backend: Backend | None, stack: ExitStack) -> Server | None:
    """A server where one of the targets needs it, with all the options that they need."""
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


def _subject(
    task: Task, asked: Asked, backend: Backend | None, server: Server | None, folder: Path
) -> Subject:
    """The client of a server runs in this environment, whichever the server's is."""
    target = TARGETS[task.target]
    own = server if target.served else None
    if backend:
        python = task.python if own else backend.python
        task = replace(task, provider=backend.provider, python=python)
    if own or target.remote:
        task = replace(task, address=own.address if own else asked.server)
    return Subject(converted(task, folder), backend, own)
