"""Intervals of what the rounds of a load give together. Knows turns, not servers.

By a bootstrap: rounds are drawn with replacement, then in each turn the thirds of its time, for the
requests of a moment are alike. Targets that are compared have the same rounds drawn, as they were
interleaved. Rounds are few: so the spread of drawn logarithms is taken as a standard error, with
Student's quantile and the factor for the narrowness of a small bootstrap. See Hesterberg, "What
Teachers Should Know About the Bootstrap", The American Statistician 69 (2015), 3.3 and 4.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.measurements.load.result import LoadTurn
from crossrun_bench.stats import CONFIDENCE, Ratio

Drawn = NDArray[Any]  # how often each turn, or each part of one, is drawn; a row a resample

FEWEST = 3  # rounds: of two, Student's quantile is 12.7 and the interval says nothing
RESAMPLES = 200  # enough for a standard error: Efron and Tibshirani, 1993, section 6.4


def share_of_free(
    value: float, own: Sequence[LoadTurn], best: Sequence[LoadTurn], cores: float
) -> Ratio:
    """A server's rate by what the generator leaves of the best rate in process."""
    if [turn.round for turn in own] != [turn.round for turn in best]:
        return Ratio(value, None, None)
    rounds = _rounds(own)
    free = _rates(best, rounds, seed=2) * (1 - _generator(own, rounds) / cores)
    with np.errstate(divide="ignore", invalid="ignore"):  # of a time without answers
        drawn = _rates(own, rounds, seed=1) / free
    return _ratio(value, drawn, len(own))


def p99_to_ideal(value: float, turns: Sequence[LoadTurn]) -> Ratio:
    """The 99th percentile by clients ÷ rate."""
    rounds = _rounds(turns)
    drawn = _p99(turns, rounds) * _rates(turns, rounds, seed=1)
    return _ratio(value, drawn, len(turns))


def _ratio(value: float, drawn: Drawn, rounds: int) -> Ratio:
    """A factor between a drawn value and the real one is the same for all, and is left out."""
    from scipy.stats import t  # noqa: PLC0415 - takes a second to import

    if rounds < FEWEST or not (np.isfinite(drawn) & (drawn > 0)).all():
        return Ratio(value, None, None)
    error = np.log(drawn).std(ddof=1) * np.sqrt(rounds / (rounds - 1))
    factor = float(np.exp(t.ppf((1 + CONFIDENCE) / 2, rounds - 1) * error))
    return Ratio(value, value / factor, value * factor)


def _rounds(turns: Sequence[LoadTurn]) -> Drawn:
    """[resamples, rounds]; the same for as many rounds."""
    count = len(turns)
    return np.random.default_rng(0).multinomial(count, [1 / count] * count, size=RESAMPLES)


def _parts(turns: Sequence[LoadTurn], rounds: Drawn, seed: int) -> Drawn:
    """[resamples, thirds of all turns]."""
    rng, cuts = np.random.default_rng(seed), [len(_windows(turn)) for turn in turns]
    drawn = [rng.multinomial(rounds[:, i] * n, [1 / n] * n) for i, n in enumerate(cuts)]
    return np.concatenate(drawn, axis=1)


def _windows(turn: LoadTurn) -> tuple[int, ...]:
    """Requests in each third; of all the time where an older file does not tell."""
    return turn.windows or (len(turn.us),)


def _rates(turns: Sequence[LoadTurn], rounds: Drawn, seed: int) -> Drawn:
    """Requests a nanosecond."""
    parts = [(n, turn.wall_ns / len(_windows(turn))) for turn in turns for n in _windows(turn)]
    answered, spent = (_parts(turns, rounds, seed) @ np.array(parts, float)).T
    rates: Drawn = answered / spent
    return rates


def _generator(turns: Sequence[LoadTurn], rounds: Drawn) -> Drawn:
    """Cores that the generator kept busy."""
    spent = np.array([(turn.generator_cpu_ns, turn.wall_ns) for turn in turns], float)
    cpu, wall = (rounds @ spent).T
    cores: Drawn = cpu / wall
    return cores


def _p99(turns: Sequence[LoadTurn], rounds: Drawn) -> Drawn:
    """The least time that 99 % of the requests drawn did not exceed."""
    times, counts = _histogram(turns)
    upto = (_parts(turns, rounds, seed=1) @ counts).cumsum(axis=1)
    found: Drawn = times[(upto >= 0.99 * upto[:, -1:]).argmax(axis=1)]
    return found


def _histogram(turns: Sequence[LoadTurn]) -> tuple[Drawn, Drawn]:
    """All different times, and how many requests of each third took each."""
    us = np.array([took for turn in turns for took in turn.us])
    sizes = [n for turn in turns for n in _windows(turn)]
    times, place = np.unique(us, return_inverse=True)
    third = np.repeat(np.arange(len(sizes)), sizes)
    flat = np.bincount(third * len(times) + place, minlength=len(sizes) * len(times))
    return times, flat.reshape(len(sizes), len(times))
