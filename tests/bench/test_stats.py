"""Percentiles and ratios on synthetic data whose truth is known."""

import numpy as np
import pytest

from crossrun_bench.stats import Ratio, paired_ratio, percentiles

DATASETS = 100


def rounds(effect: float, count: int = 10) -> list[tuple[list[float], list[float]]]:
    """Pairs of round medians, `effect` apart; noise of 30 % common to a pair, 5 % of its own."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(DATASETS):
        common = 1e6 * rng.lognormal(0, 0.3, count)
        slow = effect * common * rng.lognormal(0, 0.05, count)
        found.append((slow.tolist(), (common * rng.lognormal(0, 0.05, count)).tolist()))
    return found


def test_percentiles_are_those_of_the_values() -> None:
    """The middle and the ends of a hundred and one even steps are known."""
    assert percentiles(range(101), (0, 50, 90, 99)) == (0, 50, 90, 99)


@pytest.mark.parametrize("count", [5, 10])
@pytest.mark.parametrize("effect", [2.6, 1.0])
def test_an_interval_covers_the_true_ratio(effect: float, count: int) -> None:
    """Of a hundred measurements about 95 cover the truth, be it an effect or none."""
    found = [paired_ratio(slow, fast) for slow, fast in rounds(effect, count)]
    covered = sum(r.low <= effect <= r.high for r in found if r.low and r.high)
    assert covered >= 0.9 * DATASETS


def test_noise_that_both_share_cancels_out() -> None:
    """Pairing by round keeps the interval far narrower than the noise of the rounds."""
    ratio = paired_ratio(*rounds(2.0)[0])
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.high / ratio.low < 1.2
    assert ratio.low > 1


def test_a_few_rounds_have_no_interval() -> None:
    """Four pairs give a ratio and claim nothing of its precision."""
    ratio = paired_ratio([20.0] * 4, [10.0] * 4)
    assert ratio.value == pytest.approx(2.0)
    assert ratio.low is ratio.high is None


def test_rounds_without_any_noise_are_no_trouble() -> None:
    """Equal rounds give an interval of no width."""
    ratio = paired_ratio([3.0] * 5, [2.0] * 5)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((1.5, 1.5, 1.5))


def test_a_ratio_can_be_told_from_the_other_side() -> None:
    """Twice as fast is half as slow, and the bounds change places."""
    assert Ratio(2.0, 1.0, 4.0).inverse() == Ratio(0.5, 0.25, 1.0)
