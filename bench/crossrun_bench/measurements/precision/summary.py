"""Size, speed and answers of each precision, computed on reading."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossrun_bench.measurements.answers.summary import AccuracyRow, accuracy_rows
from crossrun_bench.measurements.precision.result import MeasuredModel, PrecisionResult, Precisions
from crossrun_bench.measurements.turns import ratio, requests
from crossrun_bench.stats import Ratio, percentiles


@dataclass(frozen=True)
class PrecisionRow:
    """One precision of a source model, one picture a request. Times are nanoseconds a request."""

    source: str
    precision: str
    file_bytes: int
    share: float | None  # of the fp32 file; None if there is none
    accuracy: AccuracyRow | None  # None without pictures
    p50: float
    faster_than_fp32: Ratio | None  # None if there is none


@dataclass(frozen=True)
class PrecisionSummary:
    """A result, and of each source model a row for each precision."""

    result: PrecisionResult
    sources: Sequence[Sequence[PrecisionRow]]


def summarise(result: PrecisionResult) -> PrecisionSummary:
    """All that is shown of a result."""
    return PrecisionSummary(result, [precision_rows(source) for source in result.sources])


def precision_rows(source: Precisions) -> list[PrecisionRow]:
    """A row for each precision of a source model."""
    fp32 = next((m for m in source.models if m.model.precision == "fp32"), None)
    said = {row.target: row for row in accuracy_rows(source.answers)} if source.answers else {}
    return [_row(m, fp32, said.get(m.model.name)) for m in source.models]


def _row(
    own: MeasuredModel, fp32: MeasuredModel | None, accuracy: AccuracyRow | None
) -> PrecisionRow:
    return PrecisionRow(
        source=own.model.source["model"],
        precision=own.model.precision,
        file_bytes=own.file_bytes,
        share=own.file_bytes / fp32.file_bytes if fp32 else None,
        accuracy=accuracy,
        p50=percentiles(requests(own.turns, 1), (50,))[0],
        faster_than_fp32=_against(fp32, own),
    )


def _against(fp32: MeasuredModel | None, own: MeasuredModel) -> Ratio | None:
    if own is fp32:
        return Ratio(1.0, None, None)  # by definition, without an interval
    return ratio(fp32.turns, own.turns, 1) if fp32 else None
