"""Converts the original into what some targets run, in a process of its own.

    python -m crossrun_bench.targets.convert < {a Task}, then more of them    → {} for each

So a target's start-up time and memory do not include its conversion. One process converts for all
targets: to start TensorFlow takes longer than to convert.
"""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

from crossrun_bench.codec import decode
from crossrun_bench.processes.driven import Reply, commands, driven
from crossrun_bench.processes.piped import piped
from crossrun_bench.targets.targets import conversion, convert
from crossrun_bench.targets.task import Task


def converted(tasks: Sequence[Task], folder: Path) -> list[Task]:
    """The tasks; those that need it name what was converted for them, in `folder`.

    Raises:
        BenchError: a conversion failed, or its package is missing.
    """
    found = [_named(task, folder) for task in tasks]
    if wanted := [task for task in found if task.converted]:
        with piped("targets.convert", "convert") as child:
            for task in wanted:
                replace(child, name=str(task)).ask(**asdict(task))
    return found


def _named(task: Task, folder: Path) -> Task:
    needed = conversion(task)
    return replace(task, converted=str(folder / task.target)) if needed else task


def main() -> int:
    """Convert for each task on stdin."""
    return driven(_serve)


def _serve(first_line: Any, reply: Reply) -> None:
    for line in chain([first_line], commands()):
        convert(decode(Task, line))
        reply({})


if __name__ == "__main__":
    sys.exit(main())
