"""Runs of LoadGen in its process, one after another; what they say is read from its logs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.loadgen import logs as loadgen_logs
from crossrun_bench.measurements.loadgen.result import ScenarioRun
from crossrun_bench.measurements.loadgen.rules import SCENARIOS, SERVER, settings
from crossrun_bench.processes.piped import Piped, piped
from crossrun_bench.progress import Step
from crossrun_bench.targets.task import Task

TRIES = 5  # of the search for Server's rate, each half as far from the one before
# A run may be faster than its rehearsal, and must not run out of queries.
_MARGIN = 1.5


@contextmanager
def started(task: Task) -> Iterator[Piped]:
    """The process that LoadGen runs in, with the task's runner loaded."""
    with piped("measurements.loadgen.process", str(task)) as child:
        child.ask(**asdict(task))
        yield child


@dataclass(frozen=True)
class Driver:
    """Has LoadGen run scenarios of `seconds` at least each; its logs go into folders of `logs`."""

    child: Piped
    logs: Path
    seconds: float
    step: Step

    def performance(self, name: str, target_qps: float | None) -> ScenarioRun:
        """One run; in Server without a rate the search for the highest."""
        if name == SERVER and target_qps is not None:
            return self._performance(name, target_qps)
        rate = self._rate(name) * _MARGIN
        if name == SERVER:
            return highest_valid(lambda qps: self._performance(name, qps), rate)
        return self._performance(name, rate)

    def with_accuracy(self, run: ScenarioRun, pictures: int) -> ScenarioRun:
        """The same run with what the model says of each picture, by another run."""
        name = run.scenario
        # All pictures once, whatever the rate; only Server's queries keep to one.
        folder = self._run(name, "accuracy", run.target_qps or 1.0)
        return replace(run, classes=loadgen_logs.classes(folder, pictures))

    def _rate(self, name: str) -> float:
        """Pictures a second, roughly."""
        rule = SCENARIOS[name]
        reply = self.child.ask(do="rate", queries=rule.queries, pictures=rule.pictures)
        return float(reply["per_second"])

    def _performance(self, name: str, rate: float) -> ScenarioRun:
        folder = self._run(name, "performance", rate)
        qps = rate if name == SERVER else None
        return loadgen_logs.scenario_run(name, loadgen_logs.detail(folder), qps)

    def _run(self, name: str, mode: str, rate: float) -> Path:
        """The folder with the logs of a run that has ended."""
        folder = self.logs / f"{name}-{mode}"
        if name == SERVER and mode == "performance":
            folder = folder.with_name(f"{folder.name}-{rate:.1f}qps")
        _make(folder)
        self.child.ask(
            do="run",
            scenario=name,
            mode=f"{mode.capitalize()}Only",
            settings=settings(name, rate, self.seconds),
            folder=str(folder),
        )
        self.step(f"{name}, {mode}")
        return folder


def highest_valid(run: Callable[[float], ScenarioRun], above: float) -> ScenarioRun:
    """The valid run with most queries a second, by bisection below `above`.

    Where none is valid, the last, and slowest, that was not.
    """
    low, best = 0.0, None
    for _ in range(TRIES):
        found = run((low + above) / 2)
        if found.valid:
            low, best = (low + above) / 2, found
        else:
            above = (low + above) / 2
    return best or found


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"{folder}: cannot be made: {error.strerror}") from error
