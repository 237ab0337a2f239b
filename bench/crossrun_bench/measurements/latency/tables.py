"""The tables of a latency result."""

from crossrun_bench.measurements.latency.result import LatencyResult
from crossrun_bench.measurements.latency.series import trips
from crossrun_bench.measurements.latency.summary import LatencySummary, baselines_of
from crossrun_bench.stats import Ratio
from crossrun_bench.targets.targets import label
from crossrun_bench.view import figures, off_by
from crossrun_bench.view.doubts import doubts
from crossrun_bench.view.table import INTERVALS, Table

LATENCY_COLUMNS = ("Target", "Batch", "p50 ms", "p90 ms", "p99 ms", "Pictures/s")
OUTLIERS = "Slow: requests that took over three times the median; they are in all figures."
STARTS = (
    "From the start of a process to its first answer, without what converted its model. "
    "TensorFlow's processes start at the same time, the others alone; for the server it is the "
    "server's own start, and its memory."
)


def tables(summary: LatencySummary) -> list[Table]:
    """How fast each target answers, and what it needs."""
    return [latency(summary), resources(summary.result)]


def latency(summary: LatencySummary) -> Table:
    """Percentiles, throughput and ratios for each batch size and target."""
    result = summary.result
    speeds = _speeds(summary)
    proven = any(row.proof and row.proof.difference is not None for row in summary.rows)
    rows = tuple(
        (
            label(row.target, row.provider),
            str(row.batch),
            *(figures.milliseconds(ns) for ns in (row.p50, row.p90, row.p99)),
            figures.rate(row.throughput),
            *(figures.times_with_interval(ratios[i]) for ratios in speeds.values()),
            *([off_by.difference(row.proof)] if proven else []),
            f"{row.requests:,}",
            f"{row.outliers:,}",
        )
        for i, row in enumerate(summary.rows)
    )
    columns = (
        *LATENCY_COLUMNS,
        *(f"Speed, {baseline} = 1" for baseline in speeds),
        *([off_by.COLUMN] if proven else []),
        "Requests",
        "Slow",
    )
    heading = f"Latency of {figures.model(result.model)}"
    told = off_by.notes(target.proof for target in result.targets)
    notes = (INTERVALS, OUTLIERS, *_versions(result), *told)
    groups = (len(result.targets),) * len(summary.batches)
    warnings = doubts("Latency", result.machine.noise, trips(result))
    return Table(heading, columns, rows, notes, groups, warnings=warnings)


def _speeds(summary: LatencySummary) -> dict[str, list[Ratio | None]]:
    """By baseline: the ratio of each row, if it has one."""
    rows = summary.rows
    speeds: dict[str, list[Ratio | None]] = {
        label(name): [row.faster_than.get(name) for row in rows]
        for name in baselines_of(summary.result)
    }
    first = next((row.provider for row in rows if row.provider), None)
    if first and any(row.faster_than_first for row in rows):
        speeds[first.label] = [row.faster_than_first for row in rows]
    return speeds


def _versions(result: LatencyResult) -> list[str]:
    """Providers in the order of the rows, each with the onnxruntime that it ran in."""
    found = {t.provider.place: t.onnxruntime for t in result.targets if t.provider}
    told = "; ".join(f"{version} for {place}" for place, version in found.items())
    computed = [figures.computed(t.provider) for t in result.targets if t.provider]
    return [f"onnxruntime {told}.", *filter(None, dict.fromkeys(computed))] if told else []


def resources(result: LatencyResult) -> Table:
    """Start-up and memory of each target."""
    rows = tuple(
        (
            label(t.target, t.provider),
            figures.seconds(t.startup_ns),
            figures.megabytes(t.peak_rss_bytes),
        )
        for t in result.targets
    )
    return Table("Start-up and peak memory", ("Target", "Start-up", "Memory"), rows, (STARTS,))
