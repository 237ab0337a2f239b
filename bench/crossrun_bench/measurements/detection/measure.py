"""Accuracy of a detector: what each target finds, beside the original and a data set's boxes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crossrun_bench.errors import BenchError
from crossrun_bench.machine import machine
from crossrun_bench.measurements.answers.gathering import check_numbers
from crossrun_bench.measurements.answers.partial import Chunk
from crossrun_bench.measurements.answers.run import AccuracyPlan, Run, answers
from crossrun_bench.measurements.detection.coco import Scenes, scenes, size_of
from crossrun_bench.measurements.detection.result import (
    Detection,
    DetectionResult,
    ShownPicture,
    TargetDetections,
)
from crossrun_bench.measurements.rounds import Child
from crossrun_bench.models.fitting import in_picture
from crossrun_bench.models.info import about
from crossrun_bench.models.model import Model, Objects
from crossrun_bench.pictures.prepare import thumbnail
from crossrun_bench.targets.examples import folder_of
from crossrun_bench.targets.targets import ENCODED

# Mean average precision counts everything that a model finds, not only what it is sure of.
MIN_SCORE = 0.01
SHOWN, _SIDE = 6, 320  # pictures that a result keeps, and their longer side in pixels at most


@dataclass(frozen=True)
class DetectionsLine:
    """A chunk of a detector's, of each picture all that was found."""

    answers: tuple[tuple[tuple[Detection, ...], ...], ...]  # for each target


def measure(
    plan: AccuracyPlan, model: Model, labels: tuple[str, ...], command: str, folder: Path
) -> DetectionResult:
    """Compare all targets on the same pictures.

    Raises:
        BenchError: something cannot be read or run.
    """
    if plan.skip_unknown:
        raise BenchError(f"{model.name} is a detector: --skip-unknown-folders is for classifiers")
    if not labels:
        raise BenchError(f"{model.name}: no labels.txt says which classes it detects")
    before, asked = machine.describe(), _asked(model)
    assert asked.detector
    found = scenes(folder_of(plan.images, folder, "several"), labels, model.calibrated_on)
    run = Run(found.files, found.names, read, DetectionsLine)
    said = answers(plan, asked, run, before, folder)
    return DetectionResult(
        command=command,
        machine=machine.finished(before),
        model=about(model),
        min_score=asked.detector.least,
        pictures=found.names,
        truths=found.truths,
        left_out=found.left_out,
        class_names=labels,
        targets=tuple(map(TargetDetections, plan.asked.targets, said)),
        shown=tuple(_shown(found)),
        sure=asked.detector.score_threshold,
        most=asked.detector.max_detections,
        labelled=None if found.truths is None else found.labelled,
    )


def _asked(model: Model) -> Model:
    """Asked for scores down to MIN_SCORE, where the model lets a request say so."""
    assert model.detector
    least = MIN_SCORE if model.detector.optional else None
    return replace(model, detector=replace(model.detector, min_score=least))


def read(
    children: Sequence[Child], found: Sequence[Objects], files: Sequence[Path]
) -> Chunk[tuple[Detection, ...]]:
    """Of objects [pictures, most, 6] those in each picture, with boxes in pixels of it."""
    for child, rows in zip(children, found, strict=True):
        check_numbers(child, rows, files)
    sizes = [size_of(file) for file in files]
    return [
        tuple(_detections(objects, size, child) for objects, size in zip(rows, sizes, strict=True))
        for child, rows in zip(children, found, strict=True)
    ]


def _detections(objects: Objects, size: tuple[int, int], child: Child) -> tuple[Detection, ...]:
    """Rounded below what matters: a picture has a hundred of them."""
    known = objects[objects[:, 4] > 0]
    ready = child.task.target == ENCODED  # the server has brought them back itself
    boxes = known[:, :4] if ready else in_picture(known[:, :4], size, child.task.model)
    rows = zip(known[:, 5].tolist(), known[:, 4].tolist(), boxes.tolist(), strict=True)
    return tuple(
        Detection(int(number), round(score, 6), tuple(round(edge, 3) for edge in box))
        for number, score, box in rows
    )


def _shown(found: Scenes) -> Iterator[ShownPicture]:
    """Some pictures, none of them chosen by what was found in it."""
    count = len(found.files)
    for number in sorted({i * count // SHOWN for i in range(SHOWN)}):
        file = found.files[number]
        yield ShownPicture(number, size_of(file)[0], thumbnail(file, _SIDE))
