"""`crossrun-bench accuracy`: do all targets see the same in the same pictures, and is it right?"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

from crossrun_bench import machine
from crossrun_bench.answers import asked
from crossrun_bench.examples import examples, folder_of
from crossrun_bench.prepare import decoded
from crossrun_bench.progress import bar
from crossrun_bench.repository import read_labels, read_model
from crossrun_bench.results import AccuracyResult, TargetAnswers, about
from crossrun_bench.runners import Task
from crossrun_bench.serving import serving
from crossrun_bench.targets import COMPARED


def measure(models: Path, name: str, *, images: str, command: str) -> AccuracyResult:
    """Compare all targets on the pictures of folder `images`, or on drawn ones for "bundled".

    Pictures that the model was calibrated on are left out: of those it knows too much.
    BenchError where anything cannot be read, started or run.
    """
    model = read_model(models, name)
    before = machine.describe()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        source = folder_of(images, folder)
        found = examples(source, read_labels(models, name), model.calibrated_on)
        step = stack.enter_context(bar(len(found.files) * (1 + len(COMPARED))))
        pictures = decoded(found.files, folder / "pixels.npy", model.height, model.width, step)
        server = stack.enter_context(serving(models))
        tasks = [Task(target, model, pictures, server.address) for target in COMPARED]
        answers = asked(tasks, folder, step)
    return AccuracyResult(
        command=command,
        machine=machine.finished(before),
        model=about(model),
        pictures=found.names,
        labels=found.labels,
        unlabelled=found.unlabelled,
        left_out=found.left_out,
        targets=tuple(map(TargetAnswers, COMPARED, answers)),
    )
