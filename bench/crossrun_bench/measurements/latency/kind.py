"""Latency, as the report and `compare` know it: headlines, sections of the page, and the rest."""

from collections.abc import Iterator

from crossrun_bench.measurements.interface import Kind
from crossrun_bench.measurements.latency import plots
from crossrun_bench.measurements.latency.result import LatencyResult
from crossrun_bench.measurements.latency.series import comparable, trips
from crossrun_bench.measurements.latency.summary import LatencySummary, first_of_each, summarise
from crossrun_bench.measurements.latency.tables import STARTS, latency, tables
from crossrun_bench.targets.targets import label
from crossrun_bench.view import figures
from crossrun_bench.view.headline import Headline, speed
from crossrun_bench.view.section import Section

_SUBJECT = "onnxruntime"
DISTRIBUTIONS = (
    "Share of requests answered within a time: the further left a line rises, the sooner the "
    "answer. All targets take the same uint8 pixels and give probabilities."
)
THROUGHPUT = "Pictures a second, with one request at a time under way."


def headlines(summary: LatencySummary) -> list[Headline]:
    """Against each baseline, on its fastest provider, and to the first answer."""
    return [*_speeds(summary), *_provider(summary), *_startup(summary)]


def _speeds(summary: LatencySummary) -> Iterator[Headline]:
    row = next((row for row in summary.rows if row.target == _SUBJECT), None)
    for baseline, ratio in row.faster_than.items() if row else ():
        detail = f"{label(_SUBJECT)}, batch {summary.rows[0].batch}"
        yield speed(label(_SUBJECT), label(baseline), ratio, detail)


def _provider(summary: LatencySummary) -> Iterator[Headline]:
    """In process the provider, or its options, that is fastest against the first."""
    rows = [row for row in summary.rows if row.target == _SUBJECT and row.provider]
    ratios = [
        (row.faster_than_first, row)
        for row in rows
        if row.faster_than_first and row.batch == rows[0].batch
    ]
    if ratios and rows[0].provider:
        ratio, row = max(ratios, key=lambda pair: pair[0].value)
        subject = label(row.target, row.provider)
        yield speed(subject, rows[0].provider.label, ratio, f"{subject}, batch {row.batch}")


def _startup(summary: LatencySummary) -> Iterator[Headline]:
    first = first_of_each(summary.result)
    starts = {name: target.startup_ns for name, target in first.items()}
    if _SUBJECT in starts and "tf-function" in starts:
        figure = figures.seconds(starts[_SUBJECT])
        detail = f"{label('tf-function')}: {figures.seconds(starts['tf-function'])}"
        caption = "from process start to first answer"
        sentence = f"{label(_SUBJECT)} takes {figure} {caption}"
        yield Headline(figure, caption, f"{label(_SUBJECT)}; {detail}", sentence)


def sections(summary: LatencySummary) -> list[Section]:
    """How long requests took, how many pictures a second, how soon and in how much memory."""
    table = latency(summary)
    return [
        Section(
            table.heading,
            DISTRIBUTIONS,
            legend=plots.colours(summary.result),
            plots=plots.distributions(summary),
            layout="tall",
            table=table,
        ),
        Section("Throughput", THROUGHPUT, plots=plots.throughputs(summary), layout="bars"),
        Section(
            "Start-up and memory",
            STARTS,
            plots=plots.resources(summary.result),
            layout="bars two",
        ),
    ]


LATENCY = Kind(
    result=LatencyResult,
    subject=lambda result: figures.model(result.model),
    summarise=summarise,
    tables=tables,
    headlines=headlines,
    sections=sections,
    comparable=comparable,
    trips=trips,
)
