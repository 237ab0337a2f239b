"""The plots of a latency result."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from crossrun_bench.measurements.latency.result import LatencyResult
from crossrun_bench.measurements.latency.summary import LatencySummary
from crossrun_bench.measurements.turns import requests
from crossrun_bench.targets.targets import label
from crossrun_bench.view import figures
from crossrun_bench.view.plot import Plot, log_ticks

_DASHES = {"keras-predict": "dot", "tf-function": "dash", "grpc-jpeg": "dashdot"}


def colours(result: LatencyResult) -> list[tuple[str, str]]:
    """For each row its colour's name in the style sheet, and its label.

    A target has a colour of its own. If providers are compared, each row is coloured as in load.
    """
    compared = any(target.provider for target in result.targets)
    return [
        (f"load-{i}" if compared else t.target, label(t.target, t.provider))
        for i, t in enumerate(result.targets)
    ]


def distributions(summary: LatencySummary) -> list[Plot]:
    """Share of requests answered within a time, one panel for each batch size."""
    return [_distribution(summary.result, batch) for batch in summary.batches]


def _distribution(result: LatencyResult, batch: int) -> Plot:
    times = [np.sort(requests(t.turns, batch)) / 1e6 for t in result.targets]
    layout = {
        "xaxis": log_ticks(min(ms[0] for ms in times), max(ms[-1] for ms in times)),
        "yaxis": {"range": [0, 1.02], "tickformat": ".0%", "dtick": 0.25},
    }
    rows = zip(colours(result), result.targets, times, strict=True)
    traces = [_ecdf(colour, name, t.target, ms) for (colour, name), t, ms in rows]
    return Plot(f"Batch {batch}", traces, layout)


def _ecdf(colour: str, name: str, target: str, ms: Any) -> dict[str, Any]:
    share = np.arange(1, len(ms) + 1) / len(ms)
    return {
        "meta": colour,
        "name": name,
        "mode": "lines",
        "x": [float(ms[0]), *ms.tolist()],
        "y": [0.0, *share.tolist()],
        "line": {"shape": "hv", "width": 2, "dash": _DASHES.get(target, "solid")},
        "hovertemplate": "%{y:.0%} within %{x:.2f} ms",
    }


def throughputs(summary: LatencySummary) -> list[Plot]:
    """Pictures a second, one panel for each batch size, all on one scale."""
    rows = summary.rows
    top = max(row.throughput for row in rows)
    return [
        _bars(
            f"Batch {batch}",
            summary.result,
            [row.throughput for row in rows if row.batch == batch],
            figures.rate,
            top,
        )
        for batch in summary.batches
    ]


def resources(result: LatencyResult) -> list[Plot]:
    """Start-up time and peak memory, of those that are known."""
    starts = [t.startup_ns for t in result.targets]
    peaks = [t.peak_rss_bytes for t in result.targets]
    return [
        _bars("Start-up, to the first answer", result, starts, figures.seconds),
        _bars("Peak memory", result, peaks, lambda count: figures.megabytes(int(count))),
    ]


def _bars(
    title: str,
    result: LatencyResult,
    values: Sequence[float | None],
    text: Callable[[float], str],
    top: float | None = None,
) -> Plot:
    """Horizontal bars in the order of the result's rows, each with its figure beside it.

    A row without a value has none.
    """
    top = top or max((value for value in values if value is not None), default=1.0)
    rows = colours(result)
    longest = max(len(name) for _, name in rows)
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "meta": colour,
            "name": name,
            "x": [value],
            "y": [name],
            "text": [text(value)],
            "textposition": "outside",
            "cliponaxis": False,
            "hoverinfo": "none",
        }
        for (colour, name), value in zip(rows, values, strict=True)
        if value is not None
    ]
    layout = {
        # Names take the bars' place: the longer they are, the more of it the figures need.
        "xaxis": {"range": [0, top * max(1.25, 1 + longest / 80)], "visible": False},
        "yaxis": {
            "autorange": "reversed",
            "automargin": True,
            "showgrid": False,
            "ticklabelstandoff": 6,
        },
        "margin": {"t": 4, "b": 4},
        "height": max(210, 26 * len(rows)),
        "bargap": 0.35,
        "barmode": "overlay",
    }
    return Plot(title, bars, layout)
