"""The source Keras model in the forms that some targets run, made by a process of its own.

    python -m crossrun_bench.targets.convert < {a Task}    → {} once it is made

So neither start-up nor memory of such a target hold what its conversion took.
"""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from crossrun_bench.codec import decode
from crossrun_bench.processes.driven import Reply, driven
from crossrun_bench.processes.piped import piped
from crossrun_bench.targets.targets import TARGETS, convert
from crossrun_bench.targets.task import Task


def converted(task: Task, folder: Path) -> Task:
    """The task with what it runs, in `folder`; as it is, where it runs what there is."""
    if not TARGETS[task.target].conversion:
        return task
    task = replace(task, converted=str(folder / task.target))
    with piped("targets.convert", str(task)) as child:
        child.ask(**asdict(task))
    return task


def main() -> int:
    """Convert what stdin names."""
    return driven(_serve)


def _serve(first_line: Any, reply: Reply) -> None:
    convert(decode(Task, first_line))
    reply({})


if __name__ == "__main__":
    sys.exit(main())
