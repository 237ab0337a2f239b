"""What every table is: text in rows and columns. Each form of the report draws it its way."""

from dataclasses import dataclass
from itertools import accumulate

Row = tuple[str, ...]
INTERVALS = "Ratios: geometric mean over interleaved rounds, 95 % bootstrap interval."


@dataclass(frozen=True)
class Table:
    """A heading, columns (the first is text, the others are figures), rows, and notes below.

    Warnings are what a reader has to know before the figures.
    """

    heading: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    groups: tuple[int, ...] = ()  # how many rows stand between two rules; empty for no rules
    warnings: tuple[str, ...] = ()

    def grouped(self) -> list[tuple[Row, ...]]:
        """The rows, those between two rules together."""
        sizes = self.groups or (len(self.rows),)
        ends = accumulate(sizes)
        return [self.rows[end - size : end] for size, end in zip(sizes, ends, strict=True)]
