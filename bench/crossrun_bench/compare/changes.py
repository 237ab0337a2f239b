"""What changed between two results: speeds round by round, scores of one run, answers."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from crossrun_bench.compare.bootstrap import mean_difference, percentile_ratios, rate_ratio
from crossrun_bench.compare.rows import TIMES
from crossrun_bench.compare.verdicts import METRICS, Change
from crossrun_bench.errors import BenchError
from crossrun_bench.stats import Ratio
from crossrun_bench.view.series import Answers, Comparable, Key, Series

_POINTS = dict(zip(TIMES, (50, 90, 99), strict=True))


def speeds(a: Mapping[Key, Series], b: Mapping[Key, Series], apart: float) -> list[Change]:
    """Times and rates of what both hold; two runs of the same thing lie `apart`, a share."""
    shared = [key for key in a if key in b]
    return [change for key in shared for change in _speeds(key, a[key], b[key], apart)]


def once_and_answers(a: Comparable, b: Comparable) -> list[Change]:
    """What one run told and what was answered, by target and setting.

    Raises:
        BenchError: the answers are to different pictures.
    """
    return _grouped([*_once(a, b), *_answers(a, b)])


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


def _grouped(changes: Sequence[Change]) -> list[Change]:
    """Those of one target and setting beside each other."""
    order = list(dict.fromkeys((change.target, change.setting) for change in changes))
    return sorted(changes, key=lambda change: order.index((change.target, change.setting)))


def _once(a: Comparable, b: Comparable) -> Iterator[Change]:
    """Scores of one run each: there is no interval."""
    for (target, setting, metric), before in a.once.items():
        after = b.once.get((target, setting, metric))
        if after is not None:
            change = 100 * (after / before - 1) if before else float("nan")
            yield Change(target, setting, METRICS[metric], before, after, change, None, None)


def _answers(a: Comparable, b: Comparable) -> Iterator[Change]:
    """Answers of the targets that both files asked about the same pictures."""
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
