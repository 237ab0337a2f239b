"""Accuracy against latency: every model, precision and provider as a point on one plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from crossrun_bench.measurements.precision.summary import PrecisionSummary
from crossrun_bench.view.plot import Plot, log_ticks

_SYMBOLS = ("circle", "diamond", "square", "triangle-up", "cross")  # a provider each
_FRONT = "other"


@dataclass(frozen=True)
class Point:
    """One precision of one model on one provider."""

    provider: str
    precision: str
    model: str
    ms: float  # p50 of one picture
    correct: float  # top-1, or agreement with the original where nobody knows the labels; 0 to 1


def points(summaries: Sequence[PrecisionSummary]) -> list[Point]:
    """All that were asked what pictures show."""
    return [
        Point(
            str(summary.result.provider),
            row.precision,
            row.source,
            row.p50 / 1e6,
            row.accuracy.agreement if row.accuracy.top1 is None else row.accuracy.top1,
        )
        for summary in summaries
        for source in summary.sources
        for row in source
        if row.accuracy
    ]


def front(found: Sequence[Point]) -> list[Point]:
    """Those that no other beats in both, the soonest first (Pareto)."""
    best: list[Point] = []
    for point in sorted(found, key=lambda point: (point.ms, -point.correct)):
        if not best or point.correct > best[-1].correct:
            best.append(point)
    return best


def plot(found: Sequence[Point]) -> Plot:
    """A mark for each point, in a colour for each precision; a line through the front."""
    best = front(found)
    providers = list(dict.fromkeys(point.provider for point in found))
    groups = dict.fromkeys((point.provider, point.precision) for point in found)
    traces = [_line(best)]
    traces += [
        _marks([p for p in found if (p.provider, p.precision) == group], best, symbol)
        for group in groups
        for symbol in [_SYMBOLS[providers.index(group[0]) % len(_SYMBOLS)]]
    ]
    layout = {
        "xaxis": log_ticks(min(p.ms for p in found), max(p.ms for p in found)),
        "yaxis": {"title": {"text": "answered right"}, "tickformat": ".0%"},
        "margin": {"l": 64},
    }
    return Plot("Further left is sooner, further up is more accurate", traces, layout)


def _line(best: Sequence[Point]) -> dict[str, Any]:
    return {
        "meta": _FRONT,
        "name": "best",
        "mode": "lines",
        "x": [point.ms for point in best],
        "y": [point.correct for point in best],
        "line": {"width": 1, "dash": "dot"},
        "hoverinfo": "skip",
    }


def _marks(group: Sequence[Point], best: Sequence[Point], symbol: str) -> dict[str, Any]:
    first = group[0]
    return {
        "meta": first.precision,
        "name": f"{first.precision}, {first.provider}",
        "mode": "markers+text",
        "x": [point.ms for point in group],
        "y": [point.correct for point in group],
        "text": [point.model if point in best else "" for point in group],
        "hovertext": [point.model for point in group],
        "textposition": "top center",
        "cliponaxis": False,
        "marker": {"symbol": symbol, "size": 10},
        "hovertemplate": "%{hovertext}: %{y:.1%} in %{x:.2f} ms",
    }
