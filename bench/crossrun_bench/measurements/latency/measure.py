"""`crossrun-bench latency`: how long each target takes for the same pictures, side by side."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from crossrun_bench.machine import machine
from crossrun_bench.measurements.latency.result import LatencyResult, TargetLatency
from crossrun_bench.measurements.proving import Judge
from crossrun_bench.measurements.rounds import TURN_S, Child, Pace, interleaved, started
from crossrun_bench.measurements.turns import Turn
from crossrun_bench.models.checked import Checked
from crossrun_bench.models.info import about
from crossrun_bench.models.repository import read_model
from crossrun_bench.pictures.prepare import drawn
from crossrun_bench.progress import Step, bar
from crossrun_bench.targets.subjects import Asked, Subject, subjects_of
from crossrun_bench.targets.targets import TARGETS


@dataclass(frozen=True)
class LatencyPlan:
    """What to measure: targets, pictures in a request, how many rounds."""

    asked: Asked
    batches: Sequence[int]
    pace: Pace


def measure(plan: LatencyPlan, command: str) -> LatencyResult:
    """Measure all targets at each batch size, in interleaved rounds.

    Raises:
        BenchError: something cannot be read, started or run.
    """
    model = read_model(plan.asked.models, plan.asked.name)
    before = machine.describe()
    with ExitStack() as stack:
        step = stack.enter_context(bar(_total(plan)))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pictures = drawn(folder, max(plan.batches), model.height, model.width)
        subjects = subjects_of(plan.asked, model, pictures, folder, stack)
        judge = Judge.of(model, plan.asked.proof_tolerance, folder)
        children, startups = _start(subjects, stack, step)
        proofs = judge.checked(subjects, children)
        turns = _turns(children, subjects, plan, step)
        peaks = list(map(_peak, subjects, children))
    measured = tuple(map(_measured, subjects, startups, peaks, turns, proofs))
    return LatencyResult(command, machine.finished(before), about(model), measured)


def _start(
    subjects: Sequence[Subject], stack: ExitStack, step: Step
) -> tuple[list[Child], list[int | None]]:
    """All children, asleep, in the order of `subjects`, and start-up times in nanoseconds.

    Each starts alone, so that its time is its own, but for the slow ones: they start together.
    """
    children: dict[int, Child] = {}
    startups: dict[int, int | None] = {}
    slow = [i for i, subject in enumerate(subjects) if TARGETS[subject.task.target].slow_start]
    alone = [[i] for i in range(len(subjects)) if i not in slow]
    for group in [*alone, slow]:
        for i in group:
            step(f"starting {subjects[i]}")
            children[i] = stack.enter_context(started(subjects[i].task))
        for i in group:
            startups[i] = _startup(subjects[i], children[i])
    order = range(len(subjects))
    return [children[i] for i in order], [startups[i] for i in order]


def _total(plan: LatencyPlan) -> int:
    """Steps, if no round is left out: one start and some turns for each row."""
    return plan.asked.rows * (1 + len(plan.batches) * (plan.pace.most + 1))


def _turns(
    children: Sequence[Child], subjects: Sequence[Subject], plan: LatencyPlan, step: Step
) -> list[list[Turn]]:
    turns: list[list[Turn]] = [[] for _ in children]
    for batch in plan.batches:
        for child, turn in interleaved(children, batch, plan.pace, TURN_S):
            i = children.index(child)
            turns[i].append(turn)
            step(f"batch {batch}, round {turn.round}: {subjects[i]}")
    return turns


def _startup(subject: Subject, child: Child) -> int | None:
    """Process start to first answer: the server's if our server is measured, else the target's."""
    ready = child.hear()
    if TARGETS[subject.task.target].remote:
        return None
    if subject.server:
        return subject.server.startup_ns + int(ready["first_ns"])
    return int(ready["ready_ns"]) - child.started_ns


def _peak(subject: Subject, child: Child) -> int | None:
    if TARGETS[subject.task.target].remote:
        return None
    return machine.peak_rss(subject.server.pid if subject.server else child.process.pid)


def _measured(
    subject: Subject,
    startup_ns: int | None,
    peak: int | None,
    turns: list[Turn],
    checked: Checked,
) -> TargetLatency:
    found = TargetLatency(subject.task.target, startup_ns, peak, tuple(turns), proof=checked)
    if subject.backend is None:
        return found
    told = subject.backend
    return replace(found, provider=told.provider, onnxruntime=told.onnxruntime)
