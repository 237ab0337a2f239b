"""`crossrun-bench latency`: how long each target takes for the same pictures, side by side."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from crossrun_bench import machine
from crossrun_bench.prepare import drawn
from crossrun_bench.progress import bar
from crossrun_bench.repository import read_model
from crossrun_bench.results import LatencyResult, TargetLatency, Turn, about
from crossrun_bench.rounds import TURN_S, Child, Pace, interleaved, started
from crossrun_bench.targets import TARGETS, label
from crossrun_bench.tasks import Asked, tasks_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crossrun_bench.progress import Step
    from crossrun_bench.runners import Task
    from crossrun_bench.serving import Server


@dataclass(frozen=True)
class Plan:
    """What to measure: targets, pictures in a request, how many rounds."""

    asked: Asked
    batches: Sequence[int]
    pace: Pace


def measure(plan: Plan, command: str) -> LatencyResult:
    """Measure all targets at each batch size, in interleaved rounds.

    BenchError where anything cannot be read, started or run.
    """
    targets = plan.asked.targets
    model = read_model(plan.asked.models, plan.asked.name)
    before = machine.describe()
    with ExitStack() as stack:
        step = stack.enter_context(bar(_total(plan)))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pictures = drawn(folder, max(plan.batches), model.height, model.width)
        tasks, server = tasks_of(plan.asked, model, pictures, folder, stack)
        children, startups = _start(tasks, server, stack, step)
        turns = _turns(children, plan, step)
        peaks = {child.task.target: _peak(child, server) for child in children}
    measured = tuple(TargetLatency(t, startups[t], peaks[t], tuple(turns[t])) for t in targets)
    return LatencyResult(command, machine.finished(before), about(model), measured)


def _start(
    tasks: Sequence[Task], server: Server | None, stack: ExitStack, step: Step
) -> tuple[list[Child], dict[str, int | None]]:
    """All children, asleep, in the order of `tasks`, and their start-up times in nanoseconds.

    Each starts alone, so that its time is its own, but for the slow ones: they start together.
    """
    children: dict[str, Child] = {}
    startups: dict[str, int | None] = {}
    slow = [task for task in tasks if TARGETS[task.target].slow_start]
    for group in [*([task] for task in tasks if task not in slow), slow]:
        for task in group:
            step(f"starting {label(task.target)}")
            children[task.target] = stack.enter_context(started(task))
        for task in group:
            startups[task.target] = _startup(children[task.target], server)
    return [children[task.target] for task in tasks], startups


def _total(plan: Plan) -> int:
    """Steps, if no round is left out: one start and some turns for each target."""
    return len(plan.asked.targets) * (1 + len(plan.batches) * (plan.pace.most + 1))


def _turns(children: Sequence[Child], plan: Plan, step: Step) -> dict[str, list[Turn]]:
    turns: dict[str, list[Turn]] = defaultdict(list)
    for batch in plan.batches:
        for child, turn in interleaved(children, batch, plan.pace, TURN_S):
            target = child.task.target
            turns[target].append(turn)
            step(f"batch {batch}, round {turn.round}: {label(target)}")
    return turns


def _startup(child: Child, server: Server | None) -> int | None:
    """Process start to first answer; of the server, where that is what is measured and is ours."""
    ready = child.hear()
    if TARGETS[child.task.target].remote:
        return None
    if server and TARGETS[child.task.target].served:
        return server.startup_ns + int(ready["first_ns"])
    return int(ready["ready_ns"]) - child.started_ns


def _peak(child: Child, server: Server | None) -> int | None:
    if TARGETS[child.task.target].remote:
        return None
    if server and TARGETS[child.task.target].served:
        return machine.peak_rss(server.pid)
    return int(child.ask(do="peak")["peak_rss_bytes"])
