"""The report's part on LoadGen: its verdict and what it scores, scenario by scenario."""

from collections.abc import Sequence

from crossrun_bench.measurements.loadgen.result import LoadGenResult, ScenarioRun
from crossrun_bench.measurements.loadgen.rules import PERCENTILES, QUALITY
from crossrun_bench.targets.targets import label
from crossrun_bench.view import figures
from crossrun_bench.view.table import Table, noisy

COLUMNS = (
    "Scenario",
    "Target",
    "LoadGen says",
    "Latency ms",
    "Throughput",
    "Queries",
    "Top-1",
    "Of fp32's",
)
_UNITS = {"Server": "queries/s", "Offline": "pictures/s"}
RULES = (
    "MobileNet's rules of MLPerf Inference v0.5, as far as LoadGen still knows them. Server is "
    "valid up to a p99 of 10 ms; where no rate was asked for, it is the highest valid one of a "
    "search. 662 × 8: queries of 8 pictures each, and the latency is of a query."  # noqa: RUF001
)


def table(result: LoadGenResult) -> Table:
    """A row for each scenario; below, what LoadGen says of those that are not valid."""
    rows = tuple(_cells(run, result) for run in result.runs)
    heading = f"LoadGen-driven: {figures.model(result.model)}, {result.model.precision}"
    invalid = (f"{run.scenario}: {run.advice}" for run in result.runs if not run.valid)
    notes = (
        _disclaimer(result),
        RULES,
        *invalid,
        *figures.left_out(result.left_out),
    )
    return Table(heading, COLUMNS, rows, notes, warnings=noisy(result))


def _disclaimer(result: LoadGenResult) -> str:
    version = result.machine.versions.get("loadgen", "")
    return (
        f"Driven and judged by MLPerf LoadGen {version}, but not an MLPerf result: runs of "
        f"{result.seconds:g} s on one machine, neither submitted nor reviewed."
    )


def _cells(run: ScenarioRun, result: LoadGenResult) -> tuple[str, ...]:
    return (
        run.scenario,
        label(result.target),
        "VALID" if run.valid else f"INVALID: {', '.join(run.unmet)}",
        _latency(run),
        _throughput(run),
        _queries(run),
        figures.percent(_top1(run.classes, result.labels)),
        _quality(run, result),
    )


def _latency(run: ScenarioRun) -> str:
    if run.latency_ns is None:
        return figures.NONE
    return f"{figures.milliseconds(run.latency_ns)} ({PERCENTILES[run.scenario]})"


def _throughput(run: ScenarioRun) -> str:
    if run.per_second is None:
        return figures.NONE
    return f"{figures.rate(run.per_second)} {_UNITS[run.scenario]}"


def _queries(run: ScenarioRun) -> str:
    each = run.pictures // run.queries
    return f"{run.queries:,} × {each:,}" if each > 1 else f"{run.queries:,}"  # noqa: RUF001


def _top1(classes: Sequence[int] | None, labels: Sequence[int] | None) -> float | None:
    if classes is None or labels is None:
        return None
    return sum(c == wanted for c, wanted in zip(classes, labels, strict=True)) / len(labels)


def _quality(run: ScenarioRun, result: LoadGenResult) -> str:
    """100.8 % ≥ 98 %."""
    own, fp32 = _top1(run.classes, result.labels), _top1(result.reference, result.labels)
    if own is None or not fp32:
        return figures.NONE
    share = own / fp32
    return f"{100 * share:.1f} % {'≥' if share >= QUALITY else '<'} {100 * QUALITY:.0f} %"
