"""The table of a LoadGen result: its verdict and what it scores, scenario by scenario."""

from crossrun_bench.measurements.answers.tables import left_out
from crossrun_bench.measurements.loadgen.result import LoadGenResult, ScenarioRun
from crossrun_bench.measurements.loadgen.rules import PERCENTILES, QUALITY
from crossrun_bench.measurements.loadgen.summary import LoadGenRow, LoadGenSummary
from crossrun_bench.targets.targets import label
from crossrun_bench.view import figures
from crossrun_bench.view.doubts import noisy
from crossrun_bench.view.table import Row, Table

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


def tables(summary: LoadGenSummary) -> list[Table]:
    """A row for each scenario; below, what LoadGen says of those that are not valid."""
    result = summary.result
    rows = tuple(_cells(row, result.target) for row in summary.rows)
    heading = f"LoadGen-driven: {figures.model(result.model)}, {result.model.precision}"
    invalid = (f"{run.scenario}: {run.advice}" for run in result.runs if not run.valid)
    notes = (
        _disclaimer(result),
        RULES,
        *invalid,
        *left_out(result.left_out),
    )
    warnings = noisy("Loadgen", result.machine.noise)
    return [Table(heading, COLUMNS, rows, notes, warnings=warnings)]


def _disclaimer(result: LoadGenResult) -> str:
    version = result.machine.versions.get("loadgen", "")
    return (
        f"Driven and judged by MLPerf LoadGen {version}, but not an MLPerf result: runs of "
        f"{result.seconds:g} s on one machine, neither submitted nor reviewed."
    )


def _cells(row: LoadGenRow, target: str) -> Row:
    run = row.run
    return (
        run.scenario,
        label(target),
        "VALID" if run.valid else f"INVALID: {', '.join(run.unmet)}",
        _latency(run),
        _throughput(run),
        _queries(run),
        figures.percent(row.top1),
        _quality(row),
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


def _quality(row: LoadGenRow) -> str:
    """100.8 % ≥ 98 %."""
    if row.of_fp32 is None:
        return figures.NONE
    sign = "≥" if row.of_fp32 >= QUALITY else "<"
    return f"{100 * row.of_fp32:.1f} % {sign} {100 * QUALITY:.0f} %"
