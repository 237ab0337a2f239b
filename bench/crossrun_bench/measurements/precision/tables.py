"""The table of a precision result."""

from crossrun_bench.measurements.answers.tables import caveats, columns, shares
from crossrun_bench.measurements.precision.result import PrecisionResult, Precisions
from crossrun_bench.measurements.precision.series import trips
from crossrun_bench.measurements.precision.summary import PrecisionRow, PrecisionSummary
from crossrun_bench.models.original import KERAS
from crossrun_bench.targets.targets import REFERENCES
from crossrun_bench.view import figures
from crossrun_bench.view.doubts import doubts
from crossrun_bench.view.table import INTERVALS, Row, Table

DETECTORS = "Rows without answers are of detectors: `crossrun-bench accuracy` compares boxes."


def tables(summary: PrecisionSummary) -> list[Table]:
    """Size, answers and speed of each precision, source by source."""
    rows = tuple(_cells(row) for source in summary.sources for row in source)
    groups = tuple(map(len, summary.sources))
    result = summary.result
    heading = f"Precisions on {result.provider}"
    warnings = doubts("Precision", result.machine.noise, trips(result))
    return [Table(heading, _columns(result), rows, _notes(summary), groups, warnings=warnings)]


def _columns(result: PrecisionResult) -> Row:
    references = [source.answers.targets[0].target for source in result.sources if source.answers]
    agrees = columns(references or [REFERENCES[KERAS]])
    return (
        "Model",
        "Precision",
        "File MB",
        "Size, fp32 = 100 %",
        *agrees,
        "p50 ms",
        "Speed, fp32 = 1",
    )


def _notes(summary: PrecisionSummary) -> tuple[str, ...]:
    result = summary.result
    version = [f"onnxruntime {result.onnxruntime}."] if result.onnxruntime else []
    computed = filter(None, [figures.computed(result.provider)])
    about = dict.fromkeys(caveat for source in result.sources for caveat in _caveats(source))
    some = [source.answers for source in result.sources]
    detectors = [DETECTORS] if any(some) and not all(some) else []
    return (INTERVALS, *version, *computed, *about, *detectors)


def _caveats(source: Precisions) -> list[str]:
    """About the pictures; only int8 is ever calibrated."""
    return caveats(source.answers, "the int8 model") if source.answers else []


def _cells(row: PrecisionRow) -> Row:
    return (
        row.source,
        row.precision,
        figures.file_megabytes(row.file_bytes),
        figures.part(row.share),
        *shares(row.accuracy),
        figures.milliseconds(row.p50),
        figures.times_with_interval(row.faster_than_fp32),
    )
