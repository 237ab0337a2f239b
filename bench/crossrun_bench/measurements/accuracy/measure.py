"""`crossrun-bench accuracy`: do all targets see the same in the same pictures, and is it right?"""

import tempfile
from dataclasses import replace
from pathlib import Path

from crossrun_bench.machine import machine
from crossrun_bench.measurements.accuracy.differences import shown
from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.answers.classes import AnswersLine, compared
from crossrun_bench.measurements.answers.comparison import TargetAnswers
from crossrun_bench.measurements.answers.run import AccuracyPlan, Run, answers
from crossrun_bench.measurements.detection import measure as detectors
from crossrun_bench.measurements.detection.result import DetectionResult
from crossrun_bench.models.info import about
from crossrun_bench.models.model import Model
from crossrun_bench.models.repository import read_labels, read_model
from crossrun_bench.pictures.prepare import thumbnail
from crossrun_bench.targets.examples import Examples, examples, folder_of


def measure(plan: AccuracyPlan, command: str) -> AccuracyResult | DetectionResult:
    """Compare all targets on the same pictures; an interrupted run goes on where it stopped.

    Pictures that the model was calibrated on are left out.

    Raises:
        BenchError: something cannot be read, started or run.
    """
    model = read_model(plan.asked.models, plan.asked.name)
    labels = read_labels(plan.asked.models, plan.asked.name)
    compare = detectors.measure if model.detector else _measure
    with tempfile.TemporaryDirectory() as folder:
        return compare(plan, model, labels, command, Path(folder))


def _measure(
    plan: AccuracyPlan, model: Model, labels: tuple[str, ...], command: str, folder: Path
) -> AccuracyResult:
    before = machine.describe()
    source = folder_of(plan.images, folder)
    found = examples(source, labels, model.calibrated_on, skip_unknown=plan.skip_unknown)
    run = Run(found.files, found.names, compared, AnswersLine)
    said = answers(plan, model, run, before, folder)
    result = AccuracyResult(
        command=command,
        machine=machine.finished(before),
        model=about(model),
        pictures=found.names,
        labels=found.labels,
        unlabelled=found.unlabelled,
        left_out=found.left_out,
        class_names=labels,
        targets=tuple(map(TargetAnswers, plan.asked.targets, said)),
    )
    return _illustrated(result, found)


def _illustrated(result: AccuracyResult, found: Examples) -> AccuracyResult:
    """With small pictures of those whose first class differs most: a report is made elsewhere."""
    names = dict.fromkeys(result.pictures[flip.picture] for flip in shown(result))
    files = dict(zip(found.names, found.files, strict=True))
    return replace(result, thumbnails={name: thumbnail(files[name]) for name in names})
