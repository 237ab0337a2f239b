"""`crossrun-bench accuracy`: do all targets see the same in the same pictures, and is it right?"""

from __future__ import annotations

import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from crossrun_bench import machine
from crossrun_bench.errors import BenchError
from crossrun_bench.labels import labelled
from crossrun_bench.prepare import decoded, listed
from crossrun_bench.progress import bar
from crossrun_bench.repository import read_labels, read_model
from crossrun_bench.results import AccuracyResult, Answer, TargetAnswers, about
from crossrun_bench.rounds import Child, started
from crossrun_bench.runners import Task
from crossrun_bench.serving import server_for, sibling
from crossrun_bench.targets import COMPARED, TARGETS, label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from crossrun_bench.progress import Step

BUNDLED = "bundled"
_COUNT, _SEED = 200, 2  # of pictures drawn; the seed is not one that training uses
_BATCH, _SERVED_BATCH = 32, 1  # any server takes one picture, of its limit we know nothing
# Probabilities of all targets at once, so in slices: 1,000 pictures of 1,000 classes are 4 MB.
_SLICE = 1000


def measure(models: Path, name: str, *, images: str, command: str) -> AccuracyResult:
    """Compare all targets on the pictures of folder `images`, or on drawn ones for "bundled".

    BenchError where anything cannot be read, started or run.
    """
    model = read_model(models, name)
    before = machine.describe()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        source = _drawn(folder) if images == BUNDLED else Path(images)
        files = listed([source])
        labels, reason = labelled(source, files, read_labels(models, name))
        step = stack.enter_context(bar(len(files) * (1 + len(COMPARED))))
        pictures = decoded(files, folder / "pixels.npy", model.height, model.width, step)
        server = stack.enter_context(server_for(models, COMPARED))
        address = server.address if server else None
        tasks = [Task(target, model, pictures, address) for target in COMPARED]
        targets = _compared(tasks, folder, step, stack)
    names = tuple(str(file.relative_to(source)) for file in files)
    return AccuracyResult(
        command, machine.finished(before), about(model), names, labels, reason, targets
    )


def _drawn(folder: Path) -> Path:
    """Pictures of the project's own generator, one folder per class."""
    pictures = folder / "pictures"
    generator = [sibling("crossrun-export", "export"), "pictures", str(pictures)]
    numbers = ["--count", str(_COUNT), "--seed", str(_SEED), "--size", "256"]
    done = subprocess.run([*generator, *numbers], check=False, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no message"]
        raise BenchError(f"crossrun-export pictures failed: {said[-1]}")
    return pictures


def _compared(
    tasks: list[Task], folder: Path, step: Step, stack: ExitStack
) -> tuple[TargetAnswers, ...]:
    """What each target says; nobody is timed here, so all of them work at once."""
    children = [stack.enter_context(started(task)) for task in tasks]
    for child in children:
        batch = _SERVED_BATCH if TARGETS[child.target].served else _BATCH
        child.say(do="predict", batch=batch, output=str(folder / f"{child.target}.npy"))
    for child in children:
        _finish(child, step)
    stored = [np.load(folder / f"{child.target}.npy", mmap_mode="r") for child in children]
    return tuple(
        TargetAnswers(child.target, _answers(probabilities, stored[0]))
        for child, probabilities in zip(children, stored, strict=True)
    )


def _finish(child: Child, step: Step) -> None:
    child.hear()  # ready
    while done := child.hear():
        step(label(child.target), int(done["done"]))


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
