"""What each measured process is told: the same model and pictures, and whom to ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crossrun_bench.convert import converted
from crossrun_bench.runners import Task
from crossrun_bench.serving import server_for
from crossrun_bench.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from crossrun_bench.model import Model
    from crossrun_bench.pictures import Pictures
    from crossrun_bench.serving import Server


@dataclass(frozen=True)
class Asked:
    """Targets of one model; `server` is the address of a running one, for those that need it."""

    models: Path
    name: str
    targets: Sequence[str]
    server: str | None = None


def tasks_of(
    asked: Asked, model: Model, pictures: Pictures, folder: Path, stack: ExitStack
) -> tuple[list[Task], Server | None]:
    """A task for each target, and the server behind some of them, which ends with `stack`.

    `folder` takes what is converted. BenchError where anything cannot be started or converted.
    """
    server = stack.enter_context(server_for(asked.models, asked.targets))
    own = server.address if server else None
    tasks = [
        Task(target, model, pictures, asked.server if TARGETS[target].remote else own)
        for target in asked.targets
    ]
    return [converted(task, folder) for task in tasks], server
