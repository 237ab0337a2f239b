"""What several measured processes say of the same pictures, chunk by chunk. Knows no labels."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.accuracy.partial import Chunk, Said
from crossrun_bench.measurements.accuracy.result import Answer
from crossrun_bench.measurements.rounds import Child, started
from crossrun_bench.models import heads
from crossrun_bench.models.fitting import fitted
from crossrun_bench.models.model import Model
from crossrun_bench.pictures.prepare import decoded
from crossrun_bench.progress import Step
from crossrun_bench.targets.targets import ENCODED, TARGETS, label
from crossrun_bench.targets.task import Task

# What the processes' arrays, [pictures, …], say of the files.
Read: TypeAlias = Callable[
    [Sequence[Child], Sequence[NDArray[np.float32]], Sequence[Path]], Chunk[Said]
]

# Of any server we know no limit but one picture.
_BATCH, _SERVED_BATCH = 32, 1
# Pictures that are decoded, asked about and forgotten: 39 MB of pixels at a size of 224.
CHUNK = 256
_LEAST = 1e-9  # a probability, so that its logarithm is one


def ready(tasks: Sequence[Task], stack: ExitStack) -> list[Child]:
    """A process for each task, all at work at once, for nobody is timed; they end with `stack`."""
    children = [stack.enter_context(started(task)) for task in tasks]
    for child in children:
        child.hear()
    return children


def asked(
    children: Sequence[Child], files: Sequence[Path], folder: Path, step: Step
) -> Chunk[Answer]:
    """A classifier's answers to all of `files`, in memory for a chunk of them at a time."""
    return joined([ask(children, chunk, folder, step, compared) for chunk in chunks(files)])


def joined(parts: Sequence[Chunk[Said]]) -> list[tuple[Said, ...]]:
    """Several chunks as one."""
    return [tuple(chain.from_iterable(answers)) for answers in zip(*parts, strict=True)]


def chunks(files: Sequence[Path]) -> Iterator[Sequence[Path]]:
    """The files, up to CHUNK at a time."""
    return (files[start : start + CHUNK] for start in range(0, len(files), CHUNK))


def ask(
    children: Sequence[Child], files: Sequence[Path], folder: Path, step: Step, read: Read[Said]
) -> Chunk[Said]:
    """What the processes say of a chunk of files, as `read` reads their arrays."""
    pixels, outputs = folder / "chunk.npy", [folder / f"{i}.npy" for i in range(len(children))]
    model = children[0].task.model
    fit = partial(fitted, model=model) if model.detector else None
    pictures = decoded(files, pixels, (model.height, model.width), step, fit)
    for child, output in zip(children, outputs, strict=True):
        target = TARGETS[child.task.target]
        batch = _SERVED_BATCH if target.served or target.remote else _BATCH
        child.say(do="predict", pictures=asdict(pictures), batch=batch, output=str(output))
    for child in children:
        _finish(child, step)
    pixels.unlink()  # never written over: a process may still map it
    return read(children, [np.load(output) for output in outputs], files)


def compared(
    children: Sequence[Child], scores: Sequence[NDArray[np.float32]], files: Sequence[Path]
) -> Chunk[Answer]:
    """Of scores [pictures, …] the answers, compared with the first's.

    BenchError where one is no number.
    """
    for child, said in zip(children, scores, strict=True):
        check_numbers(child, said, files)
    tasks = [child.task for child in children]
    found = [_probabilities(*pair) for pair in zip(tasks, scores, strict=True)]
    return [_answers(said, found[0], tasks[0].model) for said in found]


def _probabilities(task: Task, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of all classes; a server that is asked with encoded pictures answers with these."""
    return scores if task.target == ENCODED else heads.probabilities(task.model, scores)


def check_numbers(child: Child, said: NDArray[Any], files: Sequence[Path]) -> None:
    """BenchError where an answer [pictures, …] is no number: it compares as equal to nothing."""
    wrong = ~np.isfinite(said).all(axis=tuple(range(1, said.ndim)))
    if wrong.any():
        task, first = child.task, files[int(wrong.argmax())]
        raise BenchError(f"{task.model.name} on {label(task.target)}: no number for {first}")


def _finish(child: Child, step: Step) -> None:
    while done := child.hear():
        step(f"{child.task.model.name}: {label(child.task.target)}", int(done["done"]))


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
