"""The report's plots on load: latency against throughput, and against the load that is offered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crossrun_bench.load.summary import load_rows, open_rows
from crossrun_bench.report.plots import Plot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crossrun_bench.load.summary import LoadRow
    from crossrun_bench.results import LoadResult

    Along = Callable[[LoadRow], float]

CLOSED = "Closed loop: p50, and p99 dotted, against throughput"
OPEN = "Open loop: p50, and p99 dotted, against offered load"


def colours(result: LoadResult) -> dict[str, str]:
    """For each target the name of its colour in the style sheet."""
    return {target.target: f"load-{i}" for i, target in enumerate(result.targets)}


def plots(result: LoadResult) -> list[Plot]:
    """A line for each target: through its numbers of clients, and through its rates."""
    found = [_plot(CLOSED, load_rows(result), result, lambda row: row.rate.value)]
    if rows := sorted(open_rows(result, probes=True), key=_offered):
        found.append(_plot(OPEN, rows, result, _offered))
    return found


def _offered(row: LoadRow) -> float:
    return row.offered or 0.0


def _plot(title: str, rows: Sequence[LoadRow], result: LoadResult, along: Along) -> Plot:
    traces = [
        _trace([row for row in rows if row.target == name], along, point, dash, colour)
        for name, colour in colours(result).items()
        for point, dash in (("p50", "solid"), ("p99", "dot"))
    ]
    layout = {
        "xaxis": {"title": {"text": "requests a second"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "milliseconds"}, "type": "log", "dtick": "D2"},
    }
    return Plot(title, traces, layout)


def _trace(
    rows: Sequence[LoadRow], along: Along, point: str, dash: str, colour: str
) -> dict[str, Any]:
    known = [row for row in rows if getattr(row.latency, point) is not None]
    return {
        "meta": colour,
        "name": f"{rows[0].target} {point}" if rows else point,
        "mode": "lines+markers",
        "x": [along(row) for row in known],
        "y": [getattr(row.latency, point) for row in known],
        "text": [_load(row) for row in known],
        "line": {"width": 2, "dash": dash},
        "hovertemplate": "%{text}: %{y:.2f} ms at %{x:.0f} a second",
    }


def _load(row: LoadRow) -> str:
    closed = row.offered is None
    return f"{row.clients} clients" if closed else f"{row.rate.value:.0f} answered a second"
