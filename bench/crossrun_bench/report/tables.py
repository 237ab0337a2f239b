"""The report's tables, as text in rows and columns; each form of the report draws them its way."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from crossrun_bench.report import figures
from crossrun_bench.results import (
    AccuracyResult,
    LatencyResult,
    LoadGenResult,
    PrecisionResult,
    kind,
)
from crossrun_bench.summary import accuracy_rows, batches, latency_rows, precision_rows
from crossrun_bench.targets import label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crossrun_bench.results import Precisions, Result
    from crossrun_bench.summary import AccuracyRow, PrecisionRow

Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A heading, columns (the first is text, the others are figures), rows, and notes below."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()  # how many rows between two rules; nothing for no rules

    def grouped(self) -> list[tuple[Row, ...]]:
        """The rows, those between two rules together."""
        sizes = self.groups or (len(self.rows),)
        ends = accumulate(sizes)
        return [self.rows[end - size : end] for size, end in zip(sizes, ends, strict=True)]


LATENCY_COLUMNS = (
    "Target",
    "Batch",
    "p50 ms",
    "p90 ms",
    "p99 ms",
    "Pictures/s",
    "Speed, tf.function = 1",
    "Speed, Keras predict = 1",
    "Requests",
)
SHARES = ("Top-1", "Top-5", "Agrees with Keras")
PRECISION_COLUMNS = (
    "Model",
    "Precision",
    "File MB",
    "Size, fp32 = 100 %",
    *SHARES,
    "p50 ms",
    "Speed, fp32 = 1",
)
INTERVALS = "Ratios: geometric mean over interleaved rounds, 95 % bootstrap interval."
STARTS = (
    "From the start of a process to its first answer. TensorFlow's two processes start at the "
    "same time, the others alone; for the server it is the server's own start, and its memory."
)
SAME_PIXELS = (
    "The first three see the same pixels, decoded and resized by Pillow; "
    "the server's JPEG decodes and resizes in the server."
)


def tables(results: Sequence[Result]) -> list[Table]:
    """All tables, in the order of the results."""
    from crossrun_bench.report import load, loadgen  # noqa: PLC0415 - they make tables themselves

    found: list[Table] = []
    for result in results:
        if isinstance(result, LatencyResult):
            found += [latency(result), resources(result)]
        elif isinstance(result, AccuracyResult):
            found.append(accuracy(result))
        elif isinstance(result, PrecisionResult):
            found.append(precision(result))
        elif isinstance(result, LoadGenResult):
            found.append(loadgen.table(result))
        else:
            found.append(load.table(result))
    return found


def latency(result: LatencyResult) -> Table:
    """Percentiles, throughput and ratios for each batch size and target."""
    rows = tuple(
        (
            label(row.target),
            str(row.batch),
            *(figures.milliseconds(ns) for ns in (row.p50, row.p90, row.p99)),
            figures.rate(row.throughput),
            figures.times_with_interval(row.faster_than.get("tf-function")),
            figures.times_with_interval(row.faster_than.get("keras-predict")),
            f"{row.requests:,}",
        )
        for row in latency_rows(result)
    )
    heading = f"Latency of {figures.model(result.model)}"
    notes = (INTERVALS, *busy(result))
    groups = (len(result.targets),) * len(batches(result))
    return Table(heading, LATENCY_COLUMNS, rows, notes, groups)


def busy(result: Result) -> list[str]:
    """A warning where others used a quarter of the cores, or more, before we began."""
    load, cores = result.machine.load_before, result.machine.cores
    if load < cores / 4:
        return []
    busy = f"The machine was busy before this began: load {load:.2f} on {cores:g} cores."
    return [busy + " Read the figures with care."]


def resources(result: LatencyResult) -> Table:
    """Start-up and memory of each target."""
    rows = tuple(
        (label(t.target), figures.seconds(t.startup_ns), figures.megabytes(t.peak_rss_bytes))
        for t in result.targets
    )
    return Table("Start-up and peak memory", ("Target", "Start-up", "Memory"), rows, (STARTS,))


def accuracy(result: AccuracyResult) -> Table:
    """Labels, agreement and differences for each target."""
    count = len(result.pictures)
    rows = tuple(
        (
            label(row.target),
            *_shares(row),
            figures.difference(row.max_difference),
        )
        for row in accuracy_rows(result)
    )
    columns = ("Target", *SHARES, "Largest difference")
    notes = (SAME_PIXELS, *figures.caveats(result))
    return Table(f"Accuracy on {count:,} pictures", columns, rows, notes)


def precision(result: PrecisionResult) -> Table:
    """Size, answers and speed of each precision, source by source."""
    found = [precision_rows(source) for source in result.sources]
    rows = tuple(_precision(row) for group in found for row in group)
    caveats = dict.fromkeys(caveat for source in result.sources for caveat in _caveats(source))
    heading = f"Precisions on {result.provider}"
    notes = (INTERVALS, *caveats, *busy(result))
    return Table(heading, PRECISION_COLUMNS, rows, notes, tuple(map(len, found)))


def _caveats(source: Precisions) -> list[str]:
    """Of the pictures; only int8 is ever calibrated."""
    return figures.caveats(source.answers, "the int8 model") if source.answers else []


def _precision(row: PrecisionRow) -> Row:
    return (
        row.source,
        row.precision,
        figures.file_megabytes(row.file_bytes),
        figures.part(row.share),
        *_shares(row.accuracy),
        figures.milliseconds(row.p50),
        figures.times_with_interval(row.faster_than_fp32),
    )


def _shares(row: AccuracyRow | None) -> Row:
    """What SHARES names."""
    if row is None:
        return (figures.NONE,) * len(SHARES)
    agreeing = f"{row.agreeing:,} of {row.pictures:,}"
    return figures.percent(row.top1), figures.percent(row.top5), agreeing


def machines(results: Sequence[Result]) -> Table:
    """Where each result was measured, one column for each."""
    kinds = (kind(result).capitalize() for result in results)
    columns = [dict(_machine(result)) for result in results]
    rows = tuple((name, *(column[name] for column in columns)) for name in columns[0])
    return Table("Machine", ("", *kinds), rows)


def _machine(result: Result) -> list[tuple[str, str]]:
    m = result.machine
    versions = m.versions
    packages = ("python", "tensorflow", "keras", "onnxruntime", "numpy", "grpcio", "crossrun")
    return [
        ("CPU", m.cpu),
        ("Cores", f"{m.cores:g} of {m.cores_total}"),
        ("Governor", m.governor or "not readable"),
        ("Memory", f"{m.memory_bytes / 2**30:.1f} GiB"),
        ("System", m.os),
        ("Load before, after", f"{m.load_before:.2f}, {m.load_after:.2f}"),
        ("Time", figures.moment(m.time)),
        ("Commit", m.commit or "no checkout"),
        *((name, versions.get(name, figures.NONE)) for name in packages),
    ]
