"""Accuracy, as the report and `compare` know it: headlines, sections of the page, and the rest."""

from crossrun_bench.measurements.accuracy.differences_tables import thumbnails
from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.accuracy.series import comparable
from crossrun_bench.measurements.accuracy.summary import AccuracySummary, summarise
from crossrun_bench.measurements.accuracy.tables import tables
from crossrun_bench.measurements.answers.tables import original
from crossrun_bench.measurements.interface import Kind
from crossrun_bench.targets.targets import ENCODED, label
from crossrun_bench.view import figures
from crossrun_bench.view.headline import Headline
from crossrun_bench.view.section import Section, plain


def headlines(summary: AccuracySummary) -> list[Headline]:
    """Of the target that takes the same pixels as the reference and agrees least."""
    rows = summary.rows[1:]
    same_pixels = [row for row in rows if row.target != ENCODED] or rows
    least = min(same_pixels, key=lambda row: row.agreeing)
    figure, count = figures.percent(least.agreement), len(summary.result.pictures)
    caption = f"same first class as {original(summary.result.targets[0].target)}"
    detail = f"{least.agreeing:,} of {count:,} pictures, {label(least.target)}"
    return [Headline(figure, caption, detail, f"{label(least.target)}: {figure} {caption}")]


def sections(summary: AccuracySummary) -> list[Section]:
    """The tables, and small pictures of those that the last table is about."""
    return [*plain(tables(summary)), Section("", thumbnails=thumbnails(summary))]


ACCURACY = Kind(
    result=AccuracyResult,
    subject=lambda result: figures.model(result.model),
    summarise=summarise,
    tables=tables,
    headlines=headlines,
    sections=sections,
    comparable=comparable,
)
