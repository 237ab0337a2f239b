"""The plot of a detection result: precision and recall against the score."""

from collections.abc import Sequence
from typing import Any

from crossrun_bench.measurements.detection.curve import Point, best
from crossrun_bench.view.plot import Plot

# What is drawn, and in which colour of the style sheet.
LINES = (("precision", "onnxruntime"), ("recall", "grpc-raw"), ("F1", "other"))


def by_score(points: Sequence[Point]) -> Plot:
    """A line each; a mark at the best F1."""
    values = {
        "precision": [one.precision for one in points],
        "recall": [one.recall for one in points],
        "F1": [one.f1 for one in points],
    }
    scores = [one.score for one in points]
    traces = [_line(name, colour, scores, values[name]) for name, colour in LINES]
    layout = {
        "xaxis": {"title": {"text": "score from which on an object counts"}, "range": [0, 1]},
        "yaxis": {"range": [0, 1.02], "tickformat": ".0%", "dtick": 0.25},
    }
    return Plot("", [*traces, _mark(best(points))], layout)


def _line(name: str, colour: str, scores: list[float], values: list[float]) -> dict[str, Any]:
    return {
        "meta": colour,
        "name": name,
        "mode": "lines",
        "x": scores,
        "y": values,
        "line": {"width": 2},
        "hovertemplate": "%{y:.1%} from %{x} on",
    }


def _mark(top: Point) -> dict[str, Any]:
    return {
        "meta": "warning",
        "name": "best F1",
        "mode": "markers",
        "x": [top.score],
        "y": [top.f1],
        "marker": {"size": 10},
        "hovertemplate": "best F1: %{y:.1%} from %{x} on",
    }
