"""The report's tables, as text in rows and columns; each form of the report draws them its way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crossrun_bench.report import figures
from crossrun_bench.results import AccuracyResult, LatencyResult
from crossrun_bench.summary import accuracy_rows, latency_rows
from crossrun_bench.targets import label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crossrun_bench.results import Result


@dataclass(frozen=True)
class Table:
    """A heading, columns (the first is text, the others are figures), rows, and notes below."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    group: int = 0  # rows between two rules; 0 for none


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
    found: list[Table] = []
    for result in results:
        if isinstance(result, LatencyResult):
            found += [latency(result), resources(result)]
        else:
            found.append(accuracy(result))
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
    notes = (INTERVALS, *_busy(result))
    return Table(heading, LATENCY_COLUMNS, rows, notes, group=len(result.targets))


def _busy(result: LatencyResult) -> list[str]:
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
            figures.percent(row.top1),
            figures.percent(row.top5),
            f"{row.agreeing:,} of {count:,}",
            figures.difference(row.max_difference),
        )
        for row in accuracy_rows(result)
    )
    columns = ("Target", "Top-1", "Top-5", "Agrees with Keras", "Largest difference")
    notes = (SAME_PIXELS, *figures.caveats(result))
    return Table(f"Accuracy on {count:,} pictures", columns, rows, notes)


def machines(results: Sequence[Result]) -> Table:
    """Where each result was measured, one column for each."""
    kinds = ("Latency" if isinstance(r, LatencyResult) else "Accuracy" for r in results)
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
