"""When a change is more than noise, and when it breaks a condition such as 'p99 > +5%'.

Knows metrics and changes, nothing of results.
"""

import re
from dataclasses import dataclass

# Percent that two runs of the same thing lie apart, with 95 % confidence.
APART = 5.0

TOO_FEW, NOISE = "too few rounds", "within noise"
_FORM = re.compile(
    r"(?:(?P<target>.*\S)\s*:)?\s*(?P<metric>[^\s<>:]*)\s*(?P<sign>[<>])\s*(?P<limit>[^\s%]*)\s*"
    r"(?P<unit>%|points?|)"
)


@dataclass(frozen=True)
class Metric:
    """What is compared."""

    name: str
    less_is_better: bool
    unit: str  # of a change: "%" of what was, or "points" of a share
    verdicts: tuple[str, str]  # of a change for the better, for the worse


_SPEED, _ANSWERS = ("faster", "slower"), ("better", "worse")
_ALL = (
    *(Metric(name, True, "%", _SPEED) for name in ("p50", "p90", "p99")),
    Metric("throughput", False, "%", _SPEED),
    *(Metric(name, False, "points", _ANSWERS) for name in ("top1", "agreement")),
)
METRICS = {metric.name: metric for metric in _ALL}


@dataclass(frozen=True)
class Change:
    """One metric of one target in two results. Times are milliseconds, shares 0 to 1."""

    target: str
    setting: str  # such as "batch 8"
    metric: Metric
    before: float
    after: float
    value: float  # in the metric's unit: 5.0 is 5 % or 5 points
    low: float | None  # with `high`, what bounds it with 95 % confidence; None with too few rounds
    high: float | None

    @property
    def worse(self) -> bool:
        """For the worse, and more than noise: the interval excludes 0."""
        if self.low is None or self.high is None:
            return False
        return self.low > 0 if self.metric.less_is_better else self.high < 0

    @property
    def better(self) -> bool:
        """For the better, and more than noise."""
        if self.low is None or self.high is None:
            return False
        return self.high < 0 if self.metric.less_is_better else self.low > 0

    @property
    def verdict(self) -> str:
        """One or two words."""
        if self.low is None:
            return TOO_FEW
        better, worse = self.metric.verdicts
        return worse if self.worse else better if self.better else NOISE


@dataclass(frozen=True)
class Condition:
    """A change for the worse of over `limit`, in the metric's unit, of one target or of any."""

    text: str
    target: str | None
    metric: Metric
    limit: float  # signed: +5 of what should be small, -5 of what should be large

    def about(self, change: Change) -> bool:
        """Whether it says anything of this change."""
        return self.concerns(change.target, change.metric.name)

    def concerns(self, target: str, metric: str) -> bool:
        """Whether it says anything of a metric of a target."""
        return metric == self.metric.name and self.target in {None, target}

    def broken(self, change: Change) -> bool:
        """Whether the change is both more than noise and more than the limit."""
        grows = self.metric.less_is_better
        beyond = change.value > self.limit if grows else change.value < self.limit
        return self.about(change) and change.worse and beyond


def condition(text: str) -> Condition:
    """`[TARGET:] METRIC > +N%`, or `< -N%` of throughput, or `< -N points` of top1 and agreement.

    Raises:
        ValueError: the text is no condition; the message says what was expected.
    """
    form = _FORM.fullmatch(text.strip())
    if form is None:
        raise ValueError(f"'{text}': expected [TARGET:] METRIC > +N%, such as 'p99 > +5%'")
    metric = METRICS.get(form["metric"])
    if metric is None:
        known = ", ".join(METRICS)
        raise ValueError(f"'{text}': unknown metric '{form['metric']}', expected one of {known}")
    _check_unit(text, metric, form["sign"], form["unit"])
    return Condition(text.strip(), form["target"], metric, _limit(text, metric, form["limit"]))


def _check_unit(text: str, metric: Metric, sign: str, unit: str) -> None:
    worse = ">" if metric.less_is_better else "<"
    if sign != worse:
        raise ValueError(f"'{text}': {metric.name} gets worse as '{metric.name} {worse} …'")
    if unit.rstrip("s") != metric.unit.rstrip("s"):
        raise ValueError(f"'{text}': expected the limit of {metric.name} in {metric.unit}")


def _limit(text: str, metric: Metric, number: str) -> float:
    sign = "+" if metric.less_is_better else "-"
    if not re.fullmatch(rf"\{sign}\d+(\.\d+)?", number):
        raise ValueError(f"'{text}': expected a limit such as {sign}5, got '{number}'")
    return float(number)
