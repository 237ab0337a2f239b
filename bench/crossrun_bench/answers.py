"""What several measured processes say of the same pictures. Knows no labels."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from crossrun_bench.results import Answer
from crossrun_bench.rounds import Child, started
from crossrun_bench.targets import TARGETS, label

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from crossrun_bench.progress import Step
    from crossrun_bench.runners import Task

_BATCH, _SERVED_BATCH = 32, 1  # any server takes one picture, of its limit we know nothing
# Probabilities of all targets at once, so in slices: 1,000 pictures of 1,000 classes are 4 MB.
_SLICE = 1000


def asked(tasks: Sequence[Task], folder: Path, step: Step) -> list[tuple[Answer, ...]]:
    """The answers to each task, the first of which is the reference.

    Nobody is timed here, so all of them work at once. `folder` takes their probabilities.
    """
    outputs = [folder / f"{i}.npy" for i in range(len(tasks))]
    with ExitStack() as stack:
        children = [stack.enter_context(started(task)) for task in tasks]
        for child, output in zip(children, outputs, strict=True):
            batch = _SERVED_BATCH if TARGETS[child.task.target].served else _BATCH
            child.say(do="predict", batch=batch, output=str(output))
        for child in children:
            _finish(child, step)
    stored = [np.load(output, mmap_mode="r") for output in outputs]
    return [_answers(probabilities, stored[0]) for probabilities in stored]


def _finish(child: Child, step: Step) -> None:
    child.hear()  # ready
    while done := child.hear():
        step(f"{child.task.model.name}: {label(child.task.target)}", int(done["done"]))


def _answers(
    probabilities: NDArray[np.float32], reference: NDArray[np.float32]
) -> tuple[Answer, ...]:
    """Best five classes and largest difference of each row."""
    answers: list[Answer] = []
    for start in range(0, len(probabilities), _SLICE):
        rows = probabilities[start : start + _SLICE]
        best = np.argsort(-rows, axis=1, kind="stable")[:, :5]
        scores = np.take_along_axis(rows, best, axis=1)
        differences = np.abs(rows - reference[start : start + _SLICE]).max(axis=1)
        answers += [
            Answer(tuple(b), tuple(s), d)
            for b, s, d in zip(best.tolist(), scores.tolist(), differences.tolist(), strict=True)
        ]
    return tuple(answers)
