"""`crossrun-bench loadgen`: MLPerf LoadGen drives the model, in process or served.

LoadGen decides what is asked when, measures, and judges; all figures are from its own logs.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from crossrun_bench.errors import BenchError
from crossrun_bench.machine import machine
from crossrun_bench.measurements.answers.classes import asked
from crossrun_bench.measurements.answers.gathering import ready
from crossrun_bench.measurements.loadgen.driver import TRIES, Driver, started
from crossrun_bench.measurements.loadgen.result import LoadGenResult, ScenarioRun
from crossrun_bench.measurements.loadgen.rules import LIBRARY, SERVER
from crossrun_bench.models.info import about
from crossrun_bench.models.model import Model
from crossrun_bench.models.repository import read_labels, read_model
from crossrun_bench.pictures.pictures import Pictures
from crossrun_bench.pictures.prepare import decoded, drawn
from crossrun_bench.progress import Step, bar
from crossrun_bench.targets.choice import reference
from crossrun_bench.targets.examples import Examples, examples, folder_of
from crossrun_bench.targets.subjects import Asked, subjects_of
from crossrun_bench.targets.task import Task

SYSTEMS = ("onnxruntime", "grpc-raw")  # targets that LoadGen drives


@dataclass(frozen=True)
class LoadGenPlan:
    """What LoadGen drives, in which scenarios, and where its logs go."""

    models: Path
    name: str
    scenarios: Sequence[str]
    target: str  # one of SYSTEMS
    target_qps: float | None  # of Server; None to search for it
    seconds: float  # that a run lasts at least
    images: str | None  # a folder or "bundled"; None to draw some
    accuracy: bool
    logs: Path
    skip_unknown: bool = False  # whether to pass over pictures whose folder is no class

    def __post_init__(self) -> None:
        """Checks that the options go together.

        Raises:
            BenchError: they do not.
        """
        if self.target not in SYSTEMS:
            expected = ", ".join(SYSTEMS)
            raise BenchError(f"unknown target '{self.target}': expected one of {expected}")
        if self.target_qps is not None and SERVER not in self.scenarios:
            raise BenchError(f"--target-qps is for the {SERVER} scenario alone")
        if self.accuracy and self.images is None:
            raise BenchError("--accuracy needs pictures: expected --images DIR or 'bundled'")


def measure(plan: LoadGenPlan, command: str) -> LoadGenResult:
    """Let LoadGen run all scenarios, one after another.

    Raises:
        BenchError: something cannot be read, started or run.
    """
    model = read_model(plan.models, plan.name)
    if model.detector:
        raise BenchError(f"{model.name} is a detector; LoadGen's task is of a classifier")
    if model.single:
        raise BenchError(f"{model.name} takes one picture at a time; LoadGen asks for several")
    before = machine.describe()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        shown = _examples(plan, model, folder)
        compared = plan.accuracy and model.precision != "fp32"  # fp32 is not compared with itself
        step = stack.enter_context(bar(_total(plan, len(shown.files) if shown and compared else 0)))
        pictures = _pictures(shown, model, folder)
        runs = tuple(_runs(plan, model, pictures, folder, step))
        reference = _reference(model, pictures, folder, step) if compared else None
    return LoadGenResult(
        command=command,
        machine=machine.finished(before),
        model=about(model),
        target=plan.target,
        seconds=plan.seconds,
        labels=shown.labels if shown and plan.accuracy else None,
        reference=reference,
        left_out=shown.left_out if shown else 0,
        runs=runs,
    )


def _examples(plan: LoadGenPlan, model: Model, folder: Path) -> Examples | None:
    """Labelled, where accuracy is asked for, and none that the model was calibrated on."""
    if plan.images is None:
        return None
    source = folder_of(plan.images, folder)
    labels = read_labels(plan.models, plan.name)
    shown = examples(source, labels, model.calibrated_on, skip_unknown=plan.skip_unknown)
    if plan.accuracy and shown.labels is None:
        raise BenchError(f"{source}: no top-1 without labels: {shown.unlabelled}")
    return shown


def _pictures(shown: Examples | None, model: Model, folder: Path) -> Pictures:
    if shown is None:
        return drawn(folder, LIBRARY, model.height, model.width)
    return decoded(shown.files, folder / "pixels.npy", (model.height, model.width))


def _total(plan: LoadGenPlan, asked_of_original: int) -> int:
    """Runs, and pictures that the original is asked about."""
    search = SERVER in plan.scenarios and plan.target_qps is None
    runs = len(plan.scenarios) * (1 + plan.accuracy) + (TRIES - 1) * search
    return runs + asked_of_original


def _runs(
    plan: LoadGenPlan, model: Model, pictures: Pictures, folder: Path, step: Step
) -> Iterator[ScenarioRun]:
    with ExitStack() as stack:
        wanted = Asked(plan.models, plan.name, [plan.target])
        (subject,) = subjects_of(wanted, model, pictures, folder, stack)
        child = stack.enter_context(started(subject.task))
        driver = Driver(child, plan.logs, plan.seconds, step)
        for name in plan.scenarios:
            run = driver.performance(name, plan.target_qps)
            yield driver.with_accuracy(run, len(pictures.files)) if plan.accuracy else run


def _reference(model: Model, pictures: Pictures, folder: Path, step: Step) -> tuple[int, ...]:
    """The class that the original sees in each picture."""
    with ExitStack() as stack:
        children = ready([Task(reference(model), model, pictures)], stack)
        (answers,) = asked(children, list(map(Path, pictures.files)), folder, step)
    return tuple(answer.top5[0] for answer in answers)
