"""The tables of what a classifier, and each of its precisions, answers."""

from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.precision.result import PrecisionResult, Precisions
from crossrun_bench.measurements.summary import (
    AccuracyRow,
    PrecisionRow,
    accuracy_rows,
    precision_rows,
)
from crossrun_bench.targets.targets import ENCODED, label
from crossrun_bench.view import figures
from crossrun_bench.view.table import INTERVALS, SAME_PIXELS, Row, Table, doubts

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
DETECTORS = "Rows without answers are of detectors: `crossrun-bench accuracy` compares boxes."
DIVERGENCE = (
    "KL divergence: Σ p ln(p / q) over the classes, p the reference's probabilities, q the "
    "target's, none under 1e-9, both scaled to a sum of 1."
)


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
    some = [source.answers for source in result.sources]
    detectors = (DETECTORS,) if any(some) and not all(some) else ()
    version += filter(None, [figures.computed(result.provider)])
    notes = (INTERVALS, *version, *caveats, *detectors)
    groups = tuple(map(len, found))
    return Table(heading, PRECISION_COLUMNS, rows, notes, groups, warnings=doubts(result))


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
