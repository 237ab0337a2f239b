"""Intervals of what a server gives of what is free, on made-up turns with a known truth."""

from collections.abc import Sequence

import numpy as np
import pytest

from crossrun_bench.measurements.load import intervals
from crossrun_bench.measurements.load.result import LoadTurn
from crossrun_bench.stats import Ratio

CORES, ROUNDS = 2.0, 3


def turns(
    rates: Sequence[float], rng: np.random.Generator, *, tail: Sequence[float] = (3.0,) * ROUNDS
) -> list[LoadTurn]:
    """A turn of three seconds for each rate, four clients, one request in fifty `tail` as long."""
    found = []
    for number, (rate, factor) in enumerate(zip(rates, tail, strict=True), 1):
        windows = tuple(int(rate * rng.lognormal(0, 0.02)) for _ in range(3))
        us = np.full(sum(windows), 4e6 / rate)
        us[::50] *= factor
        times = tuple(map(int, us))
        cpu = int(0.3e9)  # a tenth of a core, a twentieth of both
        found.append(LoadTurn(4, number, 3 * 10**9, times, {}, cpu, 0, 0, 0, windows=windows))
    return found


def share(rng: np.random.Generator) -> Ratio:
    """Of a server that gives 0.6 of what is free, on a machine whose speed differs by round."""
    speed, noise = rng.lognormal(0, 0.3, ROUNDS), rng.lognormal(0, 0.05, (2, ROUNDS))
    own = turns(0.6 * 0.95 * 400 * speed * noise[0], rng)
    best = turns(400 * speed * noise[1], rng)
    answered = [float(np.mean([len(turn.us) for turn in side])) for side in (own, best)]
    return intervals.share_of_free(answered[0] / (answered[1] * 0.95), own, best, CORES)


def shares(count: int) -> list[tuple[float, float]]:
    """The bounds of so many."""
    found = map(share, np.random.default_rng(7).spawn(count))
    return [(ratio.low, ratio.high) for ratio in found if ratio.low and ratio.high]


def test_a_noisy_minute_falls_on_both() -> None:
    """The machine's speed differs by a third from round to round, the share by far less."""
    widths = [high / low for low, high in shares(40)]
    assert len(widths) == 40
    assert np.median(widths) < 1.7


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """With three rounds alone: 95 % of the time, as near as 200 trials tell."""
    held = sum(low <= 0.6 <= high for low, high in shares(200))
    assert 0.90 <= held / 200 <= 0.99


def test_a_tail_that_differs_between_rounds_has_a_wide_interval() -> None:
    """The same tail in every round is known well, one of a single round is not."""
    rng = np.random.default_rng(1)
    same = intervals.p99_to_ideal(3.0, turns([400.0] * ROUNDS, rng))
    once = intervals.p99_to_ideal(3.0, turns([400.0] * ROUNDS, rng, tail=(3.0, 30.0, 3.0)))
    assert same.low
    assert same.high
    assert once.low
    assert once.high
    assert same.high / same.low < 1.5
    assert once.high / once.low > 5


@pytest.mark.parametrize("rounds", [1, 2])
def test_two_rounds_have_no_interval(rounds: int) -> None:
    """Too little tells how much rounds differ; nor where the rounds are not the same."""
    rng = np.random.default_rng(1)
    some = turns([400.0] * ROUNDS, rng)
    found = intervals.p99_to_ideal(3.0, some[:rounds])
    assert found == Ratio(3.0, None, None)
    assert intervals.share_of_free(0.5, some[:2], some[1:], CORES) == Ratio(0.5, None, None)


def test_a_turn_without_answers_has_no_interval() -> None:
    """A server that broke down in a round gives nothing to take a logarithm of."""
    rng = np.random.default_rng(1)
    some = turns([400.0] * ROUNDS, rng)
    broken = [LoadTurn(4, n, 10**9, (), {"UNAVAILABLE": 9}, 0, None, 0, None) for n in (1, 2, 3)]
    assert intervals.share_of_free(0.0, broken, some, CORES) == Ratio(0.0, None, None)
    assert intervals.share_of_free(0.5, some, broken, CORES) == Ratio(0.5, None, None)
