"""Precision, as the report and `compare` know it: headlines, sections of the page, and the rest."""

from collections.abc import Iterator, Sequence

from crossrun_bench.measurements.interface import Kind
from crossrun_bench.measurements.precision import plots
from crossrun_bench.measurements.precision.result import PrecisionResult
from crossrun_bench.measurements.precision.series import comparable, trips
from crossrun_bench.measurements.precision.summary import PrecisionSummary, summarise
from crossrun_bench.measurements.precision.tables import tables
from crossrun_bench.view.headline import Headline, speed
from crossrun_bench.view.section import Section, plain

HEADING = "Accuracy against latency"
INTRO = (
    "What a model, a precision and a provider cost, and what they give; nothing measured is both "
    "sooner and more accurate than what lies on the dotted line."
)


def headlines(summary: PrecisionSummary) -> list[Headline]:
    """Of the largest model the precision that is fastest against fp32."""
    return list(_fastest(summary))


def _fastest(summary: PrecisionSummary) -> Iterator[Headline]:
    largest = max(summary.sources, key=lambda rows: rows[0].file_bytes)
    rows = [row for row in largest if row.precision != "fp32"]
    ratios = [(row.faster_than_fp32, row) for row in rows if row.faster_than_fp32]
    if ratios:
        ratio, row = max(ratios, key=lambda pair: pair[0].value)
        subject = f"{row.source} in {row.precision}"
        yield speed(subject, "fp32", ratio, f"{subject}, batch 1")


def overview(summaries: Sequence[PrecisionSummary]) -> list[Section]:
    """All precisions on all providers on one plot, if pictures were shown to several."""
    points = plots.points(summaries)
    if len(points) < 2:
        return []
    legend = [(name, name) for name in dict.fromkeys(point.precision for point in points)]
    plot = plots.plot(points)
    return [Section(HEADING, INTRO, legend=legend, plots=[plot], layout="tall one")]


def _subject(result: PrecisionResult) -> str:
    """The source models and the provider."""
    names = (source.models[0].model.source["model"] for source in result.sources)
    return f"{', '.join(names)} on {result.provider}"


PRECISION = Kind(
    result=PrecisionResult,
    subject=_subject,
    summarise=summarise,
    tables=tables,
    headlines=headlines,
    sections=lambda summary: plain(tables(summary)),
    overview=overview,
    comparable=comparable,
    trips=trips,
)
