"""The few figures that a reader should leave with."""

from dataclasses import dataclass

from crossrun_bench.stats import Ratio
from crossrun_bench.view import figures


@dataclass(frozen=True)
class Headline:
    """A figure, what it counts, under which conditions, and all that as a sentence."""

    figure: str
    caption: str
    detail: str
    sentence: str


def speed(subject: str, baseline: str, ratio: Ratio, detail: str) -> Headline:
    """How many times as fast the subject is, or that no difference is clear.

    Args:
        subject: what was measured.
        baseline: what it is compared with.
        ratio: the baseline's time by the subject's.
        detail: under which conditions.
    """
    if ratio.low is not None and ratio.high is not None and ratio.low < 1 < ratio.high:
        return _unclear(subject, baseline, ratio, detail)
    word, shown = ("faster", ratio) if ratio.value >= 1 else ("slower", ratio.inverse())
    places = 1 if shown.value >= 1.1 else 2
    figure = f"{shown.value:.{places}f}×"  # noqa: RUF001 - the sign for times
    caption = f"{word} than {baseline}"
    bounds = figures.interval(shown)
    detail += f", 95 % interval {bounds}" if bounds else ""
    return Headline(figure, caption, detail, f"{subject} answers {figure} {caption}")


def _unclear(subject: str, baseline: str, ratio: Ratio, detail: str) -> Headline:
    """An interval on both sides of 1 shows no difference, whatever its middle."""
    caption = f"no clear difference from {baseline}"
    detail = f"{detail}, 95 % interval {figures.interval(ratio)}"
    sentence = f"{subject} shows {caption}"
    return Headline(figures.times(ratio), caption, detail, sentence)
