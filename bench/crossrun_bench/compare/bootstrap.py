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
Part = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]  # begin, end, what is drawn between them

_RESAMPLES = 2000  # the interval of 5 rounds is at 1 in 1,000


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
    """A row for each resample, a column for each point; linear between values, as numpy's."""
    rng, values = np.random.default_rng(seed), np.concatenate(rounds)
    order, sizes = np.argsort(values), [len(requests) for requests in rounds]
    own = np.repeat(np.arange(len(rounds)), sizes)[order] == np.arange(len(rounds))[:, None]
    upto = np.pad(own.cumsum(axis=1), ((0, 0), (1, 0)))
    found = []
    for point in points:
        drawn = _drawn_rounds(len(rounds), _RESAMPLES, rng).T * np.array(sizes)[:, None]
        place = (drawn.sum(axis=0) - 1) * point / 100
        rank = np.floor(place).astype(int)
        low, high = (values[order][at] for at in _neighbours(upto, drawn, rank, rng))
        found.append(low + (place - rank) * (high - low))
    return np.stack(found, axis=1)


def _drawn_rounds(rounds: int, resamples: int, rng: np.random.Generator) -> NDArray[Any]:
    """How often each round is drawn, a row for each resample."""
    return rng.multinomial(rounds, [1 / rounds] * rounds, size=resamples)


def _neighbours(
    upto: NDArray[Any], drawn: NDArray[Any], rank: NDArray[Any], rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any]]:
    """In each resample the value of a rank and the next one, as places among the sorted values.

    Args:
        upto: of each round how many requests are among so many of the sorted values.
        drawn: how many requests are drawn of each round, a column for each resample.
        rank: of each resample, from 0.
        rng: draws the requests.
    """
    whole = np.zeros_like(rank), np.full_like(rank, upto.shape[1] - 1), drawn
    place, more, behind = _search(upto, whole, rank, rng)
    following, _, _ = _search(upto, behind, np.zeros_like(rank), rng)
    last = behind[2].sum(axis=0) == 0
    return place, np.where((more > 0) | last, place, following)


def _search(
    upto: NDArray[Any], part: Part, rank: NDArray[Any], rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any], Part]:
    """Halve a part of the sorted values until it is the value of the rank.

    What is drawn of a part falls into its halves by a binomial, so that no other request has to be
    drawn. Returns the place, how often it is drawn beyond the rank, and the nearest part behind it
    of which something is drawn.
    """
    (begin, end, drawn), behind = part, (part[1], part[1], np.zeros_like(part[2]))
    while (end - begin > 1).any():
        middle = (begin + end) // 2
        inside = np.maximum(upto[:, end] - upto[:, begin], 1)
        first = rng.binomial(drawn, (upto[:, middle] - upto[:, begin]) / inside)
        below, second = first.sum(axis=0), drawn - first
        here = rank < below
        behind = _chosen(here & second.any(axis=0), (middle, end, second), behind)
        begin, end, drawn = _chosen(here, (begin, middle, first), (middle, end, second))
        rank = np.where(here, rank, rank - below)
    return begin, drawn.sum(axis=0) - 1 - rank, behind


def _chosen(true: NDArray[Any], part: Part, other: Part) -> Part:
    begin, end, drawn = (np.where(true, a, b) for a, b in zip(part, other, strict=True))
    return begin, end, drawn
