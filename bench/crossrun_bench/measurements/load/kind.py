"""Load, as the report and `compare` know it: headlines, sections of the page, and the rest."""

from collections.abc import Iterator

from crossrun_bench.measurements.interface import Kind
from crossrun_bench.measurements.load import plots
from crossrun_bench.measurements.load.result import LoadResult
from crossrun_bench.measurements.load.series import comparable, trips
from crossrun_bench.measurements.load.summary import LoadSummary, summarise
from crossrun_bench.measurements.load.tables import tables
from crossrun_bench.view import figures
from crossrun_bench.view.headline import Headline
from crossrun_bench.view.section import Section, plain


def headlines(summary: LoadSummary) -> list[Headline]:
    """What our server answers of what is free, with the most clients."""
    return list(_of_free(summary))


def _of_free(summary: LoadSummary) -> Iterator[Headline]:
    ours = [row for row in summary.closed if row.target == "crossrun"]
    row = max(ours, key=lambda row: row.clients, default=None)
    if row and row.share_of_free is not None:
        figure, caption = figures.part(row.share_of_free.value), "of the throughput that is free"
        bounds = figures.part_with_interval(row.share_of_free).removeprefix(figure).strip(" ()")
        detail = f"{row.target}, {row.clients} clients, {figures.rate(row.rate.value)} requests/s"
        detail += f", interval {bounds}" if bounds else ""
        yield Headline(figure, caption, detail, f"{row.target} gives {figure} {caption}")


def sections(summary: LoadSummary) -> list[Section]:
    """All plots above the first table, then the other tables."""
    first, *others = tables(summary)
    found = plots.plots(summary)
    legend = [(colour, target) for target, colour in plots.colours(summary.result).items()]
    if any(plot.title == plots.TIME for plot in found):
        legend += [(part, part) for part in plots.PARTS]
    rates = " or requests a second" if len(found) > 1 else ""
    intro = (
        "How long a request takes, and how many are answered, with ever more clients"
        f"{rates}: the further right and down, the better."
    )
    section = Section(
        first.heading, intro, legend=legend, plots=found, layout="tall one", table=first
    )
    return [section, *plain(others)]


LOAD = Kind(
    result=LoadResult,
    subject=lambda result: figures.model(result.model),
    summarise=summarise,
    tables=tables,
    headlines=headlines,
    sections=sections,
    comparable=comparable,
    trips=trips,
)
