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
from crossrun_bench.measurements.answers.partial import Chunk, Said
from crossrun_bench.measurements.rounds import Child, started
from crossrun_bench.models.fitting import fitted
from crossrun_bench.pictures.prepare import decoded
from crossrun_bench.progress import Step
from crossrun_bench.targets.targets import TARGETS, label
from crossrun_bench.targets.task import Task

# What the processes' arrays, [pictures, …], say of the files.
Read: TypeAlias = Callable[
    [Sequence[Child], Sequence[NDArray[np.float32]], Sequence[Path]], Chunk[Said]
]

# Of any server we know no limit but one picture.
_BATCH, _SERVED_BATCH = 32, 1
# Pictures that are decoded, asked about and forgotten: 39 MB of pixels at a size of 224.
CHUNK = 256


def ready(tasks: Sequence[Task], stack: ExitStack) -> list[Child]:
    """A process for each task, all at work at once, for nobody is timed; they end with `stack`."""
    children = [stack.enter_context(started(task)) for task in tasks]
    for child in children:
        child.hear()
    return children


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
        alone = target.served or target.remote or model.single
        batch = _SERVED_BATCH if alone else _BATCH
        child.say(do="predict", pictures=asdict(pictures), batch=batch, output=str(output))
    for child in children:
        _finish(child, step)
    pixels.unlink()  # never written over: a process may still map it
    return read(children, [np.load(output) for output in outputs], files)


def check_numbers(child: Child, said: NDArray[Any], files: Sequence[Path]) -> None:
    """Checks that all answers [pictures, …] are finite: NaN is equal to nothing.

    Raises:
        BenchError: an answer is not finite.
    """
    wrong = ~np.isfinite(said).all(axis=tuple(range(1, said.ndim)))
    if wrong.any():
        task, first = child.task, files[int(wrong.argmax())]
        raise BenchError(f"{task.model.name} on {label(task.target)}: no number for {first}")


def _finish(child: Child, step: Step) -> None:
    while done := child.hear():
        step(f"{child.task.model.name}: {label(child.task.target)}", int(done["done"]))
