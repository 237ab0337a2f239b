"""Throughput, as the report and `compare` know it: its headline, and where the rest is."""

from collections.abc import Iterator

from crossrun_bench.measurements.interface import Kind
from crossrun_bench.measurements.throughput.result import ThroughputResult
from crossrun_bench.measurements.throughput.series import comparable, trips
from crossrun_bench.measurements.throughput.summary import ThroughputSummary, summarise
from crossrun_bench.measurements.throughput.tables import rate, tables
from crossrun_bench.view import figures
from crossrun_bench.view.headline import Headline
from crossrun_bench.view.section import plain


def headlines(summary: ThroughputSummary) -> list[Headline]:
    """The most rows a second that our server answers."""
    return list(_most(summary))


def _most(summary: ThroughputSummary) -> Iterator[Headline]:
    rows = [row for row in summary.rows if row.served]
    row = max(rows, key=lambda row: row.served or 0, default=None)
    if row:
        figure, caption = rate(row.served), "rows a second through the server"
        detail = f"{row.provider}, batch {row.batch}, {figures.part(row.share)} of in process"
        yield Headline(figure, caption, detail, f"{row.provider} gives {figure} {caption}")


THROUGHPUT = Kind(
    result=ThroughputResult,
    subject=lambda result: figures.model(result.model),
    summarise=summarise,
    tables=tables,
    headlines=headlines,
    sections=lambda summary: plain(tables(summary)),
    comparable=comparable,
    trips=trips,
)
