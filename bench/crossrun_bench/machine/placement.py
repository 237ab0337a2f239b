"""Where a host has put our cores, as `core_to_core` tells it. Knows numbers only."""

from collections.abc import Sequence

from crossrun_bench.stats import percentiles

NEAR = 1.5  # times: round trips of one placement differ by less, of two by more


def near(a: float, b: float) -> bool:
    """Whether two round trips are of one placement."""
    return max(a, b) <= NEAR * min(a, b)


def moved(trips: Sequence[int]) -> bool:
    """Whether there were two placements; a tenth of the turns may be odd."""
    return bool(trips) and not near(*percentiles(trips, (10, 90)))
