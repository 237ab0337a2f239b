"""`crossrun-bench compare`: two results of the same command, metric by metric.

Targets and settings that both files hold are compared. What there is to compare, each measurement
says; what is noise, verdicts.py does.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from crossrun_bench.compare.bootstrap import mean_difference, percentile_ratios, rate_ratio
from crossrun_bench.compare.likeness import Pair, differing, unlike
from crossrun_bench.compare.placed import left_out, together
from crossrun_bench.compare.relative import moved, relative
from crossrun_bench.compare.rows import TIMES, rows
from crossrun_bench.compare.side import Side, sides
from crossrun_bench.compare.verdicts import METRICS, Change, Condition
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.result import Result
from crossrun_bench.stats import Ratio
from crossrun_bench.view.series import Answers, Comparable, Key, Row, Series

_POINTS = dict(zip(TIMES, (50, 90, 99), strict=True))


@dataclass(frozen=True)
class Compared:
    """What two results hold in common, and what they do not."""

    before: Side
    after: Side
    unlike: list[Pair]
    differing: list[Pair]
    alone: tuple[list[str], list[str]]  # what only one file holds: of before, of after
    left_out: str | None  # which rounds are not compared, as a sentence
    reference: str | None  # the target of which speeds are multiples
    apart: float  # percent that two runs of the same thing lie apart
    changes: list[Change]
    unpaired: list[tuple[Row, str]]  # what changes do not tell of, and the file that does

    def broken(self, condition: Condition) -> list[Change]:
        """The changes that break a condition.

        Raises:
            BenchError: there is nothing to judge by.
        """
        about = [change for change in self.changes if condition.about(change)]
        if not about:
            raise BenchError(f"--fail-if '{condition.text}': these results hold nothing like it")
        if doubt := next(self._doubts(condition, about), None):
            raise BenchError(f"--fail-if '{condition.text}': {doubt}")
        return [change for change in about if condition.broken(change)]

    def _doubts(self, condition: Condition, about: Sequence[Change]) -> Iterator[str]:
        """Why it cannot be judged whether a condition holds."""
        for (target, setting, metric), side in self.unpaired:
            if condition.concerns(target, metric):
                yield f"{target}, {setting}: only {side} tells its {metric}"
        for target, count in self.after.told.failed.items():
            if condition.concerns(target, condition.metric.name):
                yield f"{target}: {count:,} requests of B failed, and are in no figure"
        for change in about:
            where = f"{change.target}, {change.setting}"
            if change.low is None or change.high is None:
                yield f"{where}: expected at least 5 rounds"
            elif not np.isfinite([change.value, change.low, change.high]).all():
                yield f"{where}: the change is no number"


def compare(
    before: Result,
    after: Result,
    *,
    apart: float,
    allow_unlike: bool,
    reference: str | None = None,
) -> Compared:
    """All changes from `before` to `after`.

    Args:
        before: a result.
        after: another of the same command.
        apart: percent that two runs of the same thing lie apart.
        allow_unlike: whether machines and models may differ.
        reference: the target whose multiples speeds are; none for milliseconds.

    Raises:
        BenchError: the results are of two kinds, or unlike; the files have nothing in common, or
            no such reference.
    """
    one, other = sides(before, after)
    differences = unlike(one, other)
    if differences and not allow_unlike:
        named = "; ".join(f"{name}: {a} and {b}" for name, a, b in differences)
        raise BenchError(f"not alike, see --allow-unlike: {named}")
    every = one.told.series, other.told.series
    a, b = used = together(*every)
    also = differing(one, other)
    if reference:
        also += moved(a, b, reference)
        a, b = relative(a, reference), relative(b, reference)
    changes = [c for key in a if key in b for c in _speeds(key, a[key], b[key], apart / 100)]
    changes += _together([*_once(one.told, other.told), *_answers(one.told, other.told)])
    if not changes:
        raise BenchError("nothing to compare: the files share no target at the same setting")
    alone = _only(*every), _only(*reversed(every))
    some = left_out(*every, used)
    unpaired = _unpaired(
        rows(one.told, every[0], reference), rows(other.told, every[1], reference), changes
    )
    return Compared(one, other, differences, also, alone, some, reference, apart, changes, unpaired)


def _unpaired(
    before: set[Row], after: set[Row], changes: Sequence[Change]
) -> list[tuple[Row, str]]:
    """The rows that no change tells of."""
    told = {(change.target, change.setting, change.metric.name) for change in changes}
    sides = dict.fromkeys(before, "A") | dict.fromkeys(after, "B")
    both = before & after  # such as those whose rounds are all unlike
    names = ((row, "one round" if row in both else side) for row, side in sides.items())
    return sorted((row, side) for row, side in names if row not in told)


def _only(own: Iterable[Key], other: Iterable[Key]) -> list[str]:
    return [", ".join(key) for key in own if key not in other]


def _speeds(key: Key, a: Series, b: Series, apart: float) -> list[Change]:
    changes = _latencies(key, a, b, apart) if a.answered and b.answered else []
    ratio = rate_ratio(a.rates, b.rates, apart)
    return [*changes, _speed(key, "throughput", (_rate(a), _rate(b)), ratio)]


def _latencies(key: Key, a: Series, b: Series, apart: float) -> list[Change]:
    points = list(_POINTS.values())
    times = zip(_times(a, points), _times(b, points), strict=True)
    ratios = percentile_ratios(a.answered, b.answered, points, apart)
    return [
        _speed(key, name, pair, ratio)
        for name, pair, ratio in zip(_POINTS, times, ratios, strict=True)
    ]


def _rate(series: Series) -> float:
    pictures, seconds = series.rates.sum(axis=0)
    return float(pictures / seconds)


def _times(series: Series, points: Sequence[int]) -> list[float]:
    return [float(time) for time in np.percentile(np.concatenate(series.answered), points)]


def _speed(key: Key, metric: str, values: tuple[float, float], ratio: Ratio) -> Change:
    low, high = (None if bound is None else 100 * (bound - 1) for bound in (ratio.low, ratio.high))
    return Change(*key, METRICS[metric], *values, 100 * (ratio.value - 1), low, high)


def _together(changes: Sequence[Change]) -> list[Change]:
    """Those of one target and setting beside each other."""
    order = list(dict.fromkeys((change.target, change.setting) for change in changes))
    return sorted(changes, key=lambda change: order.index((change.target, change.setting)))


def _once(a: Comparable, b: Comparable) -> Iterator[Change]:
    """Of what one run told, so that there is no interval."""
    for (target, setting, metric), before in a.once.items():
        after = b.once.get((target, setting, metric))
        if after is not None:
            change = 100 * (after / before - 1) if before else float("nan")
            yield Change(target, setting, METRICS[metric], before, after, change, None, None)


def _answers(a: Comparable, b: Comparable) -> Iterator[Change]:
    """Of the targets that both files asked about the same pictures."""
    for key in a.answers:
        if key in b.answers:
            yield from _said(a.answers[key], b.answers[key])


def _said(a: Answers, b: Answers) -> Iterator[Change]:
    if (a.pictures, a.labels) != (b.pictures, b.labels):
        told = "the files tell of different pictures, or label them differently"
        raise BenchError(f"{a.target}: {told}")
    if a.right and b.right:
        yield _share(a, "top1", a.right, b.right)
    if a.agreeing and b.agreeing:
        yield _share(a, "agreement", a.agreeing, b.agreeing)


def _share(of: Answers, metric: str, before: Sequence[bool], after: Sequence[bool]) -> Change:
    found = mean_difference(before, after)
    bounds = (100 * found.low, 100 * found.high)
    shares = (float(np.mean(before)), float(np.mean(after)))
    value = 100 * found.value
    return Change(of.target, of.setting, METRICS[metric], *shares, value, *bounds)
