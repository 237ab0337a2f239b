"""The report's tables, as text in rows and columns; each form of the report draws them its way."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, chain
from typing import TYPE_CHECKING

from crossrun_bench.report import figures
from crossrun_bench.results import kind
from crossrun_bench.results.accuracy import AccuracyResult
from crossrun_bench.results.detection import DetectionResult
from crossrun_bench.results.latency import LatencyResult
from crossrun_bench.results.loadgen import LoadGenResult
from crossrun_bench.results.precision import PrecisionResult
from crossrun_bench.results.throughput import ThroughputResult
from crossrun_bench.summary import (
    BASELINES,
    accuracy_rows,
    batches,
    latency_rows,
    precision_rows,
)
from crossrun_bench.targets import ENCODED, label

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crossrun_bench.noise import Noise
    from crossrun_bench.results import Result
    from crossrun_bench.results.precision import Precisions
    from crossrun_bench.stats import Ratio
    from crossrun_bench.summary import AccuracyRow, LatencyRow, PrecisionRow

Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A heading, columns (the first is text, the others are figures), rows, and notes below.

    Warnings are what a reader has to know before the figures.
    """

    heading: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()  # how many rows between two rules; nothing for no rules
    warnings: tuple[str, ...] = ()

    def grouped(self) -> list[tuple[Row, ...]]:
        """The rows, those between two rules together."""
        sizes = self.groups or (len(self.rows),)
        ends = accumulate(sizes)
        return [self.rows[end - size : end] for size, end in zip(sizes, ends, strict=True)]


LATENCY_COLUMNS = ("Target", "Batch", "p50 ms", "p90 ms", "p99 ms", "Pictures/s")
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
OUTLIERS = "Slow: requests that took over three times the median; they are in all figures."
STARTS = (
    "From the start of a process to its first answer, without what converted its model. "
    "TensorFlow's processes start at the same time, the others alone; for the server it is the "
    "server's own start, and its memory."
)
SAME_PIXELS = (
    "All but the server's JPEG see the same pixels, decoded and resized by Pillow; "
    "the server's JPEG decodes and resizes in the server."
)
DIVERGENCE = (
    "KL divergence: Σ p ln(p / q) over the classes, p the reference's probabilities, q the "
    "target's, none under 1e-9, both scaled to a sum of 1."
)


def tables(results: Sequence[Result]) -> list[Table]:
    """All tables, in the order of the results."""
    from crossrun_bench.report import (  # noqa: PLC0415 - they make tables themselves
        average_precision,
        differences,
        load,
        loadgen,
        throughput,
    )

    found: list[Table] = []
    for result in results:
        if isinstance(result, LatencyResult):
            found += [latency(result), resources(result)]
        elif isinstance(result, AccuracyResult):
            found += [accuracy(result), *differences.tables(result)]
        elif isinstance(result, DetectionResult):
            found += average_precision.tables(result)
        elif isinstance(result, PrecisionResult):
            found.append(precision(result))
        elif isinstance(result, ThroughputResult):
            found.append(throughput.table(result))
        elif isinstance(result, LoadGenResult):
            found.append(loadgen.table(result))
        else:
            found += load.tables(result)
    return found


def latency(result: LatencyResult) -> Table:
    """Percentiles, throughput and ratios for each batch size and target."""
    found = latency_rows(result)
    speeds = _speeds(found)
    rows = tuple(
        (
            label(row.target, row.provider),
            str(row.batch),
            *(figures.milliseconds(ns) for ns in (row.p50, row.p90, row.p99)),
            figures.rate(row.throughput),
            *(figures.times_with_interval(ratios[i]) for ratios in speeds.values()),
            f"{row.requests:,}",
            f"{row.outliers:,}",
        )
        for i, row in enumerate(found)
    )
    columns = (
        *LATENCY_COLUMNS,
        *(f"Speed, {baseline} = 1" for baseline in speeds),
        "Requests",
        "Slow",
    )
    heading = f"Latency of {figures.model(result.model)}"
    notes = (INTERVALS, OUTLIERS, *_versions(result))
    groups = (len(result.targets),) * len(batches(result))
    return Table(heading, columns, rows, notes, groups, warnings=noisy(result))


def _speeds(rows: Sequence[LatencyRow]) -> dict[str, list[Ratio | None]]:
    """By what is measured to compare with: the ratio of each row, where it has one."""
    measured = {row.target for row in rows}
    speeds: dict[str, list[Ratio | None]] = {
        label(name): [row.faster_than.get(name) for row in rows]
        for name in BASELINES
        if name in measured
    }
    first = next((row.provider for row in rows if row.provider), None)
    if first and any(row.faster_than_first for row in rows):
        speeds[first.label] = [row.faster_than_first for row in rows]
    return speeds


def _versions(result: LatencyResult) -> list[str]:
    """Providers in the order of the rows, each with the onnxruntime that it ran in."""
    found = {t.provider.place: t.onnxruntime for t in result.targets if t.provider}
    told = "; ".join(f"{version} for {place}" for place, version in found.items())
    return [f"onnxruntime {told}."] if told else []


def noisy(result: Result) -> tuple[str, ...]:
    """A warning where others used more of the cores than noise.LIMIT while this measured."""
    noise = result.machine.noise
    if noise is None or not noise.loud:
        return ()
    what = kind(result).capitalize()
    return (f"{what} was measured on a noisy machine: others used {noise}. Doubt the figures.",)


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


def accuracy(result: AccuracyResult) -> Table:
    """Labels, agreement and differences for each target."""
    count = len(result.pictures)
    rows = tuple(
        (
            label(row.target),
            *_shares(row),
            figures.difference(row.max_difference),
            figures.difference(row.divergence),
        )
        for row in accuracy_rows(result)
    )
    columns = ("Target", *SHARES, "Largest difference", "Mean KL divergence, nats")
    decodes = any(target.target == ENCODED for target in result.targets)
    notes = (*((SAME_PIXELS,) if decodes else ()), DIVERGENCE, *figures.caveats(result))
    return Table(f"Accuracy on {count:,} pictures", columns, rows, notes)


def precision(result: PrecisionResult) -> Table:
    """Size, answers and speed of each precision, source by source."""
    found = [precision_rows(source) for source in result.sources]
    rows = tuple(_precision(row) for group in found for row in group)
    caveats = dict.fromkeys(caveat for source in result.sources for caveat in _caveats(source))
    heading = f"Precisions on {result.provider}"
    version = [f"onnxruntime {result.onnxruntime}."] if result.onnxruntime else []
    notes = (INTERVALS, *version, *caveats)
    groups = tuple(map(len, found))
    return Table(heading, PRECISION_COLUMNS, rows, notes, groups, warnings=noisy(result))


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
    names = dict.fromkeys(chain.from_iterable(columns))
    rows = tuple((name, *(column.get(name, figures.NONE) for column in columns)) for name in names)
    return Table("Machine", ("", *kinds), rows)


def _machine(result: Result) -> list[tuple[str, str]]:
    m = result.machine
    versions = m.versions
    known = ("python", "tensorflow", "keras", "onnxruntime", "numpy", "grpcio", "crossrun")
    packages = (*known, *sorted(versions.keys() - {*known}))
    return [
        ("CPU", m.cpu),
        ("Instructions", figures.NONE if m.flags is None else " ".join(m.flags) or "none of note"),
        ("Cores", f"{m.cores:g} of {m.cores_total}"),
        ("Governor", m.governor or "not readable"),
        ("Memory, available", f"{_gib(m.memory_bytes)}, {_gib(m.memory_available_bytes)}"),
        ("System", m.os),
        ("Container", m.container or figures.NONE),
        *_noise(m.noise),
        ("Load before, after", f"{m.load_before:.2f}, {m.load_after:.2f}"),
        ("Time", figures.moment(m.time)),
        ("Commit", m.commit or "no checkout"),
        *((name, versions.get(name, figures.NONE)) for name in packages),
    ]


def _noise(noise: Noise | None) -> list[tuple[str, str]]:
    names = ("Others used", "Some process waited for a core", "Preempted, a second")
    if noise is None:
        return [(name, figures.NONE) for name in names]
    waited = f"{figures.part(noise.waiting)} of the time"
    values = (str(noise), waited, f"{noise.preempted:,.0f}")
    return list(zip(names, values, strict=True))


def _gib(count: int | None) -> str:
    return figures.NONE if count is None else f"{count / 2**30:.1f} GiB"
