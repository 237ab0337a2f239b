"""What makes figures doubtful: others that used the cores, or a host that moved them."""

from collections.abc import Sequence

from crossrun_bench.machine import placement
from crossrun_bench.machine.noise import Noise
from crossrun_bench.stats import percentiles


def doubts(what: str, noise: Noise | None, trips: Sequence[int]) -> tuple[str, ...]:
    """All warnings about what was measured.

    Args:
        what: what was measured, as the first word of a sentence.
        noise: what others did meanwhile; None if that is not known.
        trips: nanoseconds from core to core and back, before each turn.
    """
    return (*noisy(what, noise), *moved(what, trips))


def noisy(what: str, noise: Noise | None) -> tuple[str, ...]:
    """A warning if others used more of the cores than noise.LIMIT while this was measured."""
    if noise is None or not noise.loud:
        return ()
    return (f"{what} was measured on a noisy machine: others used {noise}. Doubt the figures.",)


def moved(what: str, trips: Sequence[int]) -> tuple[str, ...]:
    """A warning if a host moved our cores while this was measured."""
    if not placement.moved(trips):
        return ()
    low, high = percentiles(trips, (10, 90))
    return (
        f"{what} was measured while a host moved our cores: from one to the other and back a byte "
        f"took {low:.0f} ns in some turns and {high:.0f} in others. Several threads of one model "
        "are slower in the latter.",
    )
