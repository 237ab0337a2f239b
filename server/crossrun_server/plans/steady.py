"""Says whether a measurement was disturbed: by a host that moved the cores, or by other processes.

Knows nothing of what is measured.
"""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from crossrun_server import cores

NEAR = 1.5  # round trips from core to core differ by less if no core was moved, by more if one was
ATTEMPTS = 3
DISTURBED = 0.1  # share of the time for which others may have the cores


class Placed(Protocol):
    """What was measured, and how far apart the cores were before, between and after its parts."""

    @property
    def trips(self) -> Sequence[int]:
        """Nanoseconds, of core_distance; empty if they are unknown."""


P = TypeVar("P", bound=Placed)


def steadily(measure: Callable[[], P]) -> tuple[P, str]:
    """Measure until the cores stay as near as they were seen, at most ATTEMPTS times.

    Returns:
        What was measured last, and why that is in doubt; empty if it is not.
    """
    seen: list[int] = []
    for _ in range(ATTEMPTS):
        found = measure()
        seen += found.trips
        doubt = _doubt(found.trips, seen)
        if not doubt:
            break
    return found, doubt


def disturbance(waited: float) -> str:
    """Say that other processes had the cores for too long; empty if they had not.

    Args:
        waited: the share of the time in which threads had no core. What a quota withholds of whole
            cores is nobody's fault.
    """
    if waited <= DISTURBED + 1 - cores.granted() / cores.available():
        return ""
    share = f"{waited:.0%}".replace("%", " %")
    return f"its threads had no core for {share} of the time while it was measured"


def _doubt(trips: Sequence[int], seen: Sequence[int]) -> str:
    """Say that the cores moved, or that they were nearer in an earlier attempt."""
    if not trips or max(trips) <= NEAR * min(seen):
        return ""
    return (
        "a host moved the cores while this was measured: from one to another and back a byte took "
        f"{min(seen)} ns at one time, {max(trips)} ns at another"
    )
