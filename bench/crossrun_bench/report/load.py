"""The report's part on load: a table, a plot of latency against throughput, a headline."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from crossrun_bench.load_summary import load_rows
from crossrun_bench.report import figures
from crossrun_bench.report.headlines import Headline
from crossrun_bench.report.plots import Plot
from crossrun_bench.report.tables import Table, noisy

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crossrun_bench.load_summary import LoadRow
    from crossrun_bench.results import LoadResult

COLUMNS = (
    "Target",
    "Clients",
    "Requests/s",
    "Of free",
    "p50 ms",
    "p99 ms",
    "p99 ÷ ideal",
    "Added p50 ms",
    "Generator",
    "CPU ms",
    "MB",
    "Errors",
)
NOTES = (
    "Closed loop: as many requests as clients are always under way. Requests/s: mean over "
    "interleaved rounds, 95 % interval. Free: the best in process with no more callers than "
    "clients, times the share of the cores that the generator leaves. Ideal: clients ÷ "
    "throughput. Generator: its share of all cores. CPU, MB: of all processes of the server, CPU "
    "for one request. 2x1: two sessions at once, of one thread each.",
)
NEIGHBOUR = "Another process kept one core busy all the time."


def table(result: LoadResult) -> Table:
    """A row for each target and number of clients."""
    rows = load_rows(result)
    groups = [len(list(group)) for _, group in groupby(rows, _group)]
    heading = f"Load on {figures.model(result.model)}"
    notes = (*NOTES, *([NEIGHBOUR] if result.neighbour else []))
    cells = tuple(map(_cells, rows))
    return Table(heading, COLUMNS, cells, notes, tuple(groups), warnings=_warnings(result))


def _warnings(result: LoadResult) -> tuple[str, ...]:
    """Of noise, in which servers have a part that ran already."""
    foreign = [t.target for t in result.targets for turn in t.turns if turn.server_cpu_ns is None]
    said = f"Others are servers that ran already too: {', '.join(dict.fromkeys(foreign))}."
    return tuple(f"{text} {said}" if foreign else text for text in noisy(result))


def _group(row: LoadRow) -> tuple[bool, int]:
    return row.in_process, 0 if row.in_process else row.clients


def _cells(row: LoadRow) -> tuple[str, ...]:
    return (
        row.target,
        str(row.clients),
        figures.rate_with_interval(row.rate),
        figures.part(row.share_of_free),
        *(figures.plain(ms) for ms in (row.p50, row.p99, row.p99_to_ideal, row.added_p50)),
        figures.NONE if row.in_process else figures.part(row.generator),
        figures.plain(row.cpu_ms),
        figures.NONE if row.rss_bytes is None else f"{row.rss_bytes / 1e6:,.0f}",
        ", ".join(f"{count:,} {code}" for code, count in row.errors.items()) or "0",
    )


def headlines(result: LoadResult) -> Iterator[Headline]:
    """What our server gives of what is free, with the most clients."""
    ours = [row for row in load_rows(result) if row.target == "crossrun"]
    row = max(ours, key=lambda row: row.clients, default=None)
    if row and row.share_of_free is not None:
        figure, caption = figures.part(row.share_of_free), "of the throughput that is free"
        detail = f"{row.target}, {row.clients} clients, {figures.rate(row.rate.value)} requests/s"
        yield Headline(figure, caption, detail, f"{row.target} gives {figure} {caption}")


def colours(result: LoadResult) -> dict[str, str]:
    """For each target the name of its colour in the style sheet."""
    return {target.target: f"load-{i}" for i, target in enumerate(result.targets)}


def plot(result: LoadResult) -> Plot:
    """A line for each target through its numbers of clients: p50 drawn through, p99 dotted."""
    rows, colour = load_rows(result), colours(result)
    traces = [
        _trace([row for row in rows if row.target == name], point, dash, colour[name])
        for name in colour
        for point, dash in (("p50", "solid"), ("p99", "dot"))
    ]
    layout = {
        "xaxis": {"title": {"text": "requests a second"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "milliseconds"}, "type": "log"},
    }
    return Plot("p50, and p99 dotted, against throughput", traces, layout)


def _trace(rows: Sequence[LoadRow], point: str, dash: str, colour: str) -> dict[str, Any]:
    answered = [row for row in rows if row.p50 is not None]
    return {
        "meta": colour,
        "name": f"{rows[0].target} {point}" if rows else point,
        "mode": "lines+markers",
        "x": [row.rate.value for row in answered],
        "y": [getattr(row, point) for row in answered],
        "text": [f"{row.clients} clients" for row in answered],
        "line": {"width": 2, "dash": dash},
        "hovertemplate": "%{text}: %{y:.2f} ms at %{x:.0f} a second",
    }
