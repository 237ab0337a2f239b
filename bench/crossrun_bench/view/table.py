"""What every table is: text in rows and columns; each form of the report draws it its way."""

from dataclasses import dataclass
from itertools import accumulate

from crossrun_bench.measurements import placement
from crossrun_bench.measurements.kinds import Result, kind
from crossrun_bench.stats import percentiles

Row = tuple[str, ...]
INTERVALS = "Ratios: geometric mean over interleaved rounds, 95 % bootstrap interval."
SAME_PIXELS = (
    "All but the server's JPEG see the same pixels, decoded and resized by Pillow; "
    "the server's JPEG decodes and resizes in the server."
)


@dataclass(frozen=True)
class Table:
    """A heading, columns (the first is text, the others are figures), rows, and notes below.

    Warnings are what a reader has to know before the figures.
    """

    heading: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()  # how many rows between two rules; nothing for no rules
    warnings: tuple[str, ...] = ()

    def grouped(self) -> list[tuple[Row, ...]]:
        """The rows, those between two rules together."""
        sizes = self.groups or (len(self.rows),)
        ends = accumulate(sizes)
        return [self.rows[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def doubts(result: Result) -> tuple[str, ...]:
    """What makes the figures of a result doubtful."""
    return (*noisy(result), *moved(result))


def noisy(result: Result) -> tuple[str, ...]:
    """A warning where others used more of the cores than noise.LIMIT while this measured."""
    noise = result.machine.noise
    if noise is None or not noise.loud:
        return ()
    what = kind(result).capitalize()
    return (f"{what} was measured on a noisy machine: others used {noise}. Doubt the figures.",)


def moved(result: Result) -> tuple[str, ...]:
    """A warning where a host moved our cores while this measured."""
    found = placement.seen(result)
    if not placement.moved(found):
        return ()
    what, (low, high) = kind(result).capitalize(), percentiles(found, (10, 90))
    return (
        f"{what} was measured while a host moved our cores: from one to the other and back a byte "
        f"took {low:.0f} ns in some turns and {high:.0f} in others. Several threads of one model "
        "are slower in the latter.",
    )
