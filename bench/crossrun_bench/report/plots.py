"""The report's plots as plotly figures. Traces name their target; the page chooses the colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from crossrun_bench.report import figures
from crossrun_bench.summary import batches, latency_rows, requests
from crossrun_bench.targets import label

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crossrun_bench.results import LatencyResult

_DASHES = {"keras-predict": "dot", "tf-function": "dash", "grpc-jpeg": "dashdot"}


@dataclass(frozen=True)
class Plot:
    """One panel: a title, and `data` and `layout` as plotly.js takes them."""

    title: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]


def distributions(result: LatencyResult) -> list[Plot]:
    """Share of requests answered within a time, one panel for each batch size."""
    return [_distribution(result, batch) for batch in batches(result)]


def _distribution(result: LatencyResult, batch: int) -> Plot:
    times = {t.target: np.sort(requests(t.turns, batch)) / 1e6 for t in result.targets}
    layout = {
        "xaxis": log_ticks(
            min(ms[0] for ms in times.values()), max(ms[-1] for ms in times.values())
        ),
        "yaxis": {"range": [0, 1.02], "tickformat": ".0%", "dtick": 0.25},
    }
    return Plot(f"Batch {batch}", [_ecdf(target, ms) for target, ms in times.items()], layout)


def _ecdf(target: str, ms: Any) -> dict[str, Any]:
    share = np.arange(1, len(ms) + 1) / len(ms)
    return {
        "meta": target,
        "name": label(target),
        "mode": "lines",
        "x": [float(ms[0]), *ms.tolist()],
        "y": [0.0, *share.tolist()],
        "line": {"shape": "hv", "width": 2, "dash": _DASHES.get(target, "solid")},
        "hovertemplate": "%{y:.0%} within %{x:.2f} ms",
    }


def log_ticks(low: float, high: float) -> dict[str, Any]:
    """An axis of milliseconds: ticks at 1, 2 and 5 of each decade, a little room on both sides."""
    left, right = np.log10(low * 0.85), np.log10(high * 1.18)
    decades = 10.0 ** np.arange(np.floor(left), np.ceil(right))
    ticks = [d * step for d in decades for step in (1, 2, 5) if left <= np.log10(d * step) <= right]
    return {
        "type": "log",
        "range": [float(left), float(right)],
        "tickvals": ticks,
        "ticktext": [f"{tick:,g}" for tick in ticks],
        "title": {"text": "milliseconds a request"},
    }


def throughputs(result: LatencyResult) -> list[Plot]:
    """Pictures a second, one panel for each batch size, all on one scale."""
    rows = latency_rows(result)
    top = max(row.throughput for row in rows)
    return [
        _bars(
            f"Batch {batch}",
            [(row.target, row.throughput) for row in rows if row.batch == batch],
            figures.rate,
            top,
        )
        for batch in batches(result)
    ]


def resources(result: LatencyResult) -> list[Plot]:
    """Start-up time and peak memory, of those that are known."""
    starts = [(t.target, float(t.startup_ns)) for t in result.targets if t.startup_ns]
    peaks = [(t.target, float(t.peak_rss_bytes)) for t in result.targets if t.peak_rss_bytes]
    return [
        _bars("Start-up, to the first answer", starts, figures.seconds),
        _bars("Peak memory", peaks, lambda count: figures.megabytes(int(count))),
    ]


def _bars(
    title: str,
    values: Sequence[tuple[str, float]],
    text: Callable[[float], str],
    top: float | None = None,
) -> Plot:
    """Horizontal bars in the order given, each with its figure beside it."""
    top = top or max((value for _, value in values), default=1.0)
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "meta": target,
            "name": label(target),
            "x": [value],
            "y": [label(target)],
            "text": [text(value)],
            "textposition": "outside",
            "cliponaxis": False,
            "hoverinfo": "none",
        }
        for target, value in values
    ]
    layout = {
        "xaxis": {"range": [0, top * 1.25], "visible": False},
        "yaxis": {
            "autorange": "reversed",
            "automargin": True,
            "showgrid": False,
            "ticklabelstandoff": 6,
        },
        "margin": {"t": 4, "b": 4},
        "bargap": 0.35,
        "barmode": "overlay",
    }
    return Plot(title, bars, layout)
