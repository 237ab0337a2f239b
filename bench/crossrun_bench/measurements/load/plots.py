"""The plots of a load result: latency, throughput, and where a request's time goes."""

from collections.abc import Callable, Sequence
from typing import Any

from crossrun_bench.measurements.load.result import LoadResult
from crossrun_bench.measurements.load.summary import LoadRow, LoadSummary
from crossrun_bench.view.plot import Plot

Along = Callable[[LoadRow], float]

CLOSED = "Closed loop: p50, and p99 dotted, against throughput"
OPEN = "Open loop: p50, and p99 dotted, against offered load"
CLIENTS = "Closed loop: throughput against clients"
TIME = "Where a request's time goes, medians, where the server tells"
PARTS = ("decode", "queue", "compute", "rest")


def colours(result: LoadResult) -> dict[str, str]:
    """For each target the name of its colour in the style sheet."""
    return {target.target: f"load-{i}" for i, target in enumerate(result.targets)}


def plots(summary: LoadSummary) -> list[Plot]:
    """A line for each target: through its numbers of clients, and through its rates; then bars."""
    result, closed, rates = summary.result, summary.closed, sorted(summary.probed, key=_offered)
    found = [_plot(CLOSED, closed, result, lambda row: row.rate.value), _clients(closed, result)]
    if rates:
        found.append(_plot(OPEN, rates, result, _offered))
    told = [row for row in [*closed, *summary.open] if row.parts.rest is not None]
    return [*found, _parts(told)] if told else found


def _clients(rows: Sequence[LoadRow], result: LoadResult) -> Plot:
    traces = [
        {
            "meta": colour,
            "name": name,
            "mode": "lines+markers",
            "x": [row.clients for row in rows if row.target == name],
            "y": [row.rate.value for row in rows if row.target == name],
            "line": {"width": 2},
            "hovertemplate": f"{name}: %{{y:.0f}} a second with %{{x}} clients",
        }
        for name, colour in colours(result).items()
    ]
    layout = {
        "xaxis": {"title": {"text": "clients"}, "type": "log", "tickvals": _counts(rows)},
        "yaxis": {"title": {"text": "requests a second"}, "rangemode": "tozero"},
    }
    return Plot(CLIENTS, traces, layout)


def _counts(rows: Sequence[LoadRow]) -> list[int]:
    return sorted({row.clients for row in rows})


def _parts(rows: Sequence[LoadRow]) -> Plot:
    """A bar for each target and load: what it tells, and the rest of the time at the client."""
    names = [f"{row.target}, {_setting(row)}" for row in rows]
    told = [p for p in PARTS if any(getattr(row.parts, p) is not None for row in rows)]
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "meta": part,
            "name": part,
            "y": names,
            "x": [getattr(row.parts, part) for row in rows],
            "text": [_told(getattr(row.parts, part)) for row in rows],
            "textposition": "inside",
            "textangle": 0,
            "insidetextanchor": "middle",
            "hovertemplate": f"{part} %{{text}} ms",
        }
        for part in told
    ]
    layout = {
        "xaxis": {"title": {"text": "milliseconds"}},
        "yaxis": {"autorange": "reversed", "automargin": True, "showgrid": False},
        "barmode": "stack",
        "uniformtext": {"minsize": 10, "mode": "hide"},
    }
    return Plot(TIME, traces, layout)


def _told(ms: float | None) -> str:
    """What is not known has no bar, and none of no length."""
    return "" if ms is None else f"{ms:.2f}"


def _setting(row: LoadRow) -> str:
    return f"{row.clients} clients" if row.offered is None else f"{row.offered:.0f}/s"


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
