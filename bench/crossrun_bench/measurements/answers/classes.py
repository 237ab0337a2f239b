"""What classifiers say of pictures, compared with what the first of them says. Knows no labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.measurements.answers.comparison import Answer
from crossrun_bench.measurements.answers.gathering import ask, check_numbers, chunks, joined
from crossrun_bench.measurements.answers.partial import Chunk
from crossrun_bench.measurements.rounds import Child
from crossrun_bench.models import heads
from crossrun_bench.models.model import Model
from crossrun_bench.progress import Step
from crossrun_bench.targets.targets import ENCODED
from crossrun_bench.targets.task import Task

_LEAST = 1e-9  # a probability, so that its logarithm is one


@dataclass(frozen=True)
class AnswersLine:
    """A chunk of a classifier's answers."""

    answers: tuple[tuple[Answer, ...], ...]  # for each target


def asked(
    children: Sequence[Child], files: Sequence[Path], folder: Path, step: Step
) -> Chunk[Answer]:
    """A classifier's answers to all of `files`, in memory for a chunk of them at a time."""
    return joined([ask(children, chunk, folder, step, compared) for chunk in chunks(files)])


def compared(
    children: Sequence[Child], scores: Sequence[NDArray[np.float32]], files: Sequence[Path]
) -> Chunk[Answer]:
    """Of scores [pictures, …] the answers, compared with the first's.

    Raises:
        BenchError: a score is not finite.
    """
    for child, said in zip(children, scores, strict=True):
        check_numbers(child, said, files)
    tasks = [child.task for child in children]
    found = [_probabilities(*pair) for pair in zip(tasks, scores, strict=True)]
    return [_answers(said, found[0], tasks[0].model) for said in found]


def _probabilities(task: Task, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of all classes; a server that is asked with encoded pictures answers with these."""
    return scores if task.target == ENCODED else heads.probabilities(task.model, scores)


def _answers(
    said: NDArray[np.float32], reference: NDArray[np.float32], model: Model
) -> tuple[Answer, ...]:
    """Best five classes, largest difference and divergence of each row."""
    best = np.argsort(-said, axis=1, kind="stable")[:, :5]
    scores = np.take_along_axis(said, best, axis=1)
    differences = np.abs(said - reference).max(axis=1)
    alike = heads.decided_alike(model, said, reference)
    nothing = [None] * len(said)
    columns = (
        best.tolist(),
        scores.tolist(),
        differences.tolist(),
        _divergences(reference, said).tolist() if alike is None else nothing,
        nothing if alike is None else alike.tolist(),
    )
    rows = zip(*columns, strict=True)
    return tuple(Answer(tuple(b), tuple(s), d, kl, same) for b, s, d, kl, same in rows)


def _divergences(p: NDArray[np.float32], q: NDArray[np.float32]) -> NDArray[np.float64]:
    """Kullback and Leibler's Σ p ln(p / q) of each row, in nats, [pictures].

    Probabilities under 1e-9 count as that, and each row is scaled to a sum of 1 again.
    """
    least = [np.maximum(rows, _LEAST, dtype=np.float64) for rows in (p, q)]
    p64, q64 = (rows / rows.sum(axis=1, keepdims=True) for rows in least)
    found: NDArray[np.float64] = np.maximum((p64 * np.log(p64 / q64)).sum(axis=1), 0.0)
    return found
