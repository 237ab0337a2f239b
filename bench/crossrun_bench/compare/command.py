"""`crossrun-bench compare`: two results of the same command, metric by metric.

Targets and settings that both files hold are compared. Where requests are in each kind of result,
series.py knows; what is noise, verdicts.py does.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from crossrun_bench.compare.bootstrap import mean_difference, percentile_ratios, rate_ratio
from crossrun_bench.compare.likeness import Pair, check_kinds, differing, unlike
from crossrun_bench.compare.placed import left_out, together
from crossrun_bench.compare.relative import moved, relative
from crossrun_bench.compare.rows import TIMES, Row, comparisons, failed, rows, setting_of
from crossrun_bench.compare.series import Key, Series, series
from crossrun_bench.compare.verdicts import METRICS, Change, Condition
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.accuracy.result import Answer, Comparison, agree
from crossrun_bench.measurements.kinds import Result
from crossrun_bench.measurements.loadgen.result import LoadGenResult, ScenarioRun
from crossrun_bench.measurements.loadgen.rules import PERCENTILES
from crossrun_bench.stats import Ratio

_POINTS = dict(zip(TIMES, (50, 90, 99), strict=True))


@dataclass(frozen=True)
class Compared:
    """What two results hold in common, and what they do not."""

    before: Result
    after: Result
    unlike: list[Pair]
    differing: list[Pair]
    alone: tuple[list[str], list[str]]  # what only one file holds: of before, of after
    left_out: str | None  # which rounds are not compared, as a sentence
    reference: str | None  # the target of which speeds are multiples
    apart: float  # percent that two runs of the same thing lie apart
    changes: list[Change]
    unpaired: list[tuple[Row, str]]  # what changes do not tell of, and the file that does

    def broken(self, condition: Condition) -> list[Change]:
        """The changes that break a condition; BenchError where there is nothing to judge by."""
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
        for target, count in failed(self.after).items():
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
    check_kinds(before, after)
    differences = unlike(before, after)
    if differences and not allow_unlike:
        named = "; ".join(f"{name}: {a} and {b}" for name, a, b in differences)
        raise BenchError(f"not alike, see --allow-unlike: {named}")
    every = series(before), series(after)
    a, b = used = together(*every)
    also = differing(before, after)
    if reference:
        also += moved(a, b, reference)
        a, b = relative(a, reference), relative(b, reference)
    changes = [c for key in a if key in b for c in _speeds(key, a[key], b[key], apart / 100)]
    changes += [*_scenarios(before, after), *_answers(before, after)]
    if not changes:
        raise BenchError("nothing to compare: the files share no target at the same setting")
    alone = _only(*every), _only(*reversed(every))
    some = left_out(*every, used)
    unpaired = _unpaired(
        rows(before, every[0], reference), rows(after, every[1], reference), changes
    )
    return Compared(
        before, after, differences, also, alone, some, reference, apart, changes, unpaired
    )


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


def _scenarios(before: Result, after: Result) -> Iterator[Change]:
    """Of LoadGen's runs of one target. Each was one run, so that there is no interval."""
    if not isinstance(before, LoadGenResult) or not isinstance(after, LoadGenResult):
        return
    if before.target != after.target:
        return
    others = {run.scenario: run for run in after.runs}
    for a in (run for run in before.runs if run.scenario in others):
        key, b = (before.target, a.scenario), others[a.scenario]
        if a.latency_ns is not None and b.latency_ns is not None:
            pair = a.latency_ns / 1e6, b.latency_ns / 1e6
            yield _once(key, PERCENTILES[a.scenario], pair)
        if a.per_second is not None and b.per_second is not None:
            yield _once(key, "throughput", (a.per_second, b.per_second))
        if a.classes and b.classes and before.labels and before.labels == after.labels:
            yield _share(*key, "top1", _right(a, before.labels), _right(b, before.labels))


def _once(key: Key, metric: str, values: tuple[float, float]) -> Change:
    before, after = values
    change = 100 * (after / before - 1) if before else float("nan")
    return Change(*key, METRICS[metric], before, after, change, None, None)


def _right(run: ScenarioRun, labels: Sequence[int]) -> list[bool]:
    return [said == label for said, label in zip(run.classes or (), labels, strict=True)]


def _answers(before: Result, after: Result) -> list[Change]:
    """Of the targets that both files asked about the same pictures, but for the reference."""
    a, b = comparisons(before), comparisons(after)
    return [c for name in a if name in b for c in _said(name, a[name], b[name])]


def _said(name: str, a: Comparison, b: Comparison) -> list[Change]:
    if (a.pictures, a.labels) != (b.pictures, b.labels):
        raise BenchError(f"{name}: the files tell of different pictures, or label them differently")
    setting = setting_of(a)
    found = []
    if a.labels is not None:
        found = [_share(name, setting, "top1", *(_hits(side, name, a.labels) for side in (a, b)))]
    agreeing = (_agreeing(side, name) for side in (a, b))
    return [*found, _share(name, setting, "agreement", *agreeing)]


def _hits(comparison: Comparison, name: str, right: Sequence[int]) -> list[bool]:
    """For each picture whether a target's first class is the right one."""
    own = _answers_of(comparison, name)
    return [answer.top5[0] == label for answer, label in zip(own, right, strict=True)]


def _agreeing(comparison: Comparison, name: str) -> list[bool]:
    """For each picture whether a target decides what the reference does."""
    pairs = zip(_answers_of(comparison, name), comparison.targets[0].answers, strict=True)
    return [agree(own, reference) for own, reference in pairs]


def _answers_of(comparison: Comparison, name: str) -> Sequence[Answer]:
    return next(target.answers for target in comparison.targets if target.target == name)


def _share(name: str, setting: str, metric: str, before: list[bool], after: list[bool]) -> Change:
    found = mean_difference(before, after)
    bounds = (100 * found.low, 100 * found.high)
    shares = (float(np.mean(before)), float(np.mean(after)))
    return Change(name, setting, METRICS[metric], *shares, 100 * found.value, *bounds)
