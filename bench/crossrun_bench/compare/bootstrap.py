"""How far two separate runs differ, with an interval. Knows numbers only.

The requests of a round are alike, so rounds are drawn with replacement, then requests within each:
the hierarchical bootstrap of Davison and Hinkley, Bootstrap Methods and their Application, 1997,
section 3.8; for benchmarks Kalibera and Jones, Rigorous Benchmarking in Reasonable Time, ISMM 2013.
What stays the same within a run, and differs from run to run, no resampling of one run shows: the
caller says how far two runs of the same thing lie `apart`, with 95 % confidence, as a share.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.stats import MIN_PAIRS, Difference, Ratio, expanded

Rounds = Sequence[NDArray[Any]]  # the requests of each round, all in one unit

_RESAMPLES = 2000  # the interval of 5 rounds is at 1 in 1,000
_CELLS = 4_000_000  # of one array: resamples at once by requests


def percentile_ratios(
    before: Rounds, after: Rounds, points: Sequence[float], apart: float
) -> list[Ratio]:
    """For each point the percentile of all requests of `after` by that of `before`.

    Fewer than 5 rounds on a side give no interval.
    """
    rounds = min(len(before), len(after))
    a, b = (np.percentile(np.concatenate(side), points) for side in (before, after))
    drawn = [None] * len(points)
    if rounds >= MIN_PAIRS:
        drawn = list((_percentiles(after, points, 1) / _percentiles(before, points, 0)).T)
    return [_ratio(v, d, rounds, apart) for v, d in zip(b / a, drawn, strict=True)]


def rate_ratio(before: NDArray[Any], after: NDArray[Any], apart: float) -> Ratio:
    """Rate of `after` by that of `before`, rows of (count, seconds) of each round."""
    a, b = (side.sum(axis=0) for side in (before, after))
    value = (b[0] / b[1]) / (a[0] / a[1])
    rounds = min(len(before), len(after))
    drawn = _rates(after, 1) / _rates(before, 0) if rounds >= MIN_PAIRS else None
    return _ratio(value, drawn, rounds, apart)


def mean_difference(before: Sequence[bool], after: Sequence[bool]) -> Difference:
    """Share of `after` less that of `before`, of the same things, with its bootstrap interval."""
    steps = np.asarray(after, int) - np.asarray(before, int)
    count = len(steps)
    shares = [float(np.mean(steps == step)) for step in (-1, 0, 1)]
    drawn = np.random.default_rng(0).multinomial(count, shares, size=_RESAMPLES)
    low, high = _bounds((drawn[:, 2] - drawn[:, 0]) / count, max(count, 2))
    return Difference(float(steps.mean()), low, high)


def _ratio(value: float, drawn: NDArray[Any] | None, rounds: int, apart: float) -> Ratio:
    """With the interval widened: the two errors are independent, so that their squares add."""
    if drawn is None:
        return Ratio(float(value), None, None)
    middle, between = np.log(value), np.log1p(apart)
    low, high = _bounds(np.log(drawn), rounds)
    below = np.hypot(max(0.0, middle - low), between)
    above = np.hypot(max(0.0, high - middle), between)
    return Ratio(float(value), float(np.exp(middle - below)), float(np.exp(middle + above)))


def _bounds(drawn: NDArray[Any], count: int) -> tuple[float, float]:
    tail = (1 - expanded(count)) / 2
    low, high = np.quantile(drawn, (tail, 1 - tail))
    return float(low), float(high)


def _rates(rounds: NDArray[Any], seed: int) -> NDArray[Any]:
    """Of each resample; requests add up to rounds, so that rounds alone are drawn."""
    total = _drawn_rounds(len(rounds), _RESAMPLES, np.random.default_rng(seed)) @ rounds
    rates: NDArray[Any] = total[:, 0] / total[:, 1]
    return rates


def _percentiles(rounds: Rounds, points: Sequence[float], seed: int) -> NDArray[Any]:
    """A row for each resample, a column for each point."""
    rng, values = np.random.default_rng(seed), np.concatenate(rounds)
    order = np.argsort(values)
    step = max(1, _CELLS // len(values))
    parts = []
    for begin in range(0, _RESAMPLES, step):
        times = _drawn_requests(rounds, min(step, _RESAMPLES - begin), rng)
        parts.append(_weighted(values[order], times[:, order], points))
    return np.concatenate(parts)


def _drawn_rounds(rounds: int, resamples: int, rng: np.random.Generator) -> NDArray[Any]:
    """How often each round is drawn, a row for each resample."""
    return rng.multinomial(rounds, [1 / rounds] * rounds, size=resamples)


def _drawn_requests(rounds: Rounds, resamples: int, rng: np.random.Generator) -> NDArray[Any]:
    """How often each request is drawn, a row for each resample."""
    times = _drawn_rounds(len(rounds), resamples, rng)
    sizes = [len(requests) for requests in rounds]
    within = [rng.multinomial(times[:, i] * n, [1 / n] * n) for i, n in enumerate(sizes)]
    return np.concatenate(within, axis=1)


def _weighted(ordered: NDArray[Any], times: NDArray[Any], points: Sequence[float]) -> NDArray[Any]:
    """Percentiles of `ordered`, each value as often as `times` says, linear between values."""
    upto = times.cumsum(axis=1)
    last = upto[:, -1] - 1
    found = []
    for point in points:
        place = last * point / 100
        left, right = np.floor(place), np.minimum(np.floor(place) + 1, last)
        low, high = (ordered[(upto > at[:, None]).argmax(axis=1)] for at in (left, right))
        found.append(low + (place - left) * (high - low))
    return np.stack(found, axis=1)
