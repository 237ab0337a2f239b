"""Results as every form of the report shows them, each summarised once."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from crossrun_bench.measurements.kinds import KINDS, name_of
from crossrun_bench.measurements.result import Result
from crossrun_bench.view.headline import Headline
from crossrun_bench.view.section import Section
from crossrun_bench.view.table import Table

MOST_WARNINGS = 3  # that stand together before all tables


class Chapter:
    """One result, and what is made of it when first asked for."""

    def __init__(self, result: Result) -> None:
        self.result = result
        self.name = name_of(result)  # of its kind
        self.kind = KINDS[self.name]

    @property
    def subject(self) -> str:
        """What was measured."""
        return self.kind.subject(self.result)

    @property
    def trips(self) -> Sequence[int]:
        """Nanoseconds from core to core and back, before each turn that has them."""
        return self.kind.trips(self.result)

    @cached_property
    def summary(self) -> Any:
        """What its measurement computes of it."""
        return self.kind.summarise(self.result)

    @cached_property
    def tables(self) -> Sequence[Table]:
        """All of its tables."""
        return self.kind.tables(self.summary)

    @cached_property
    def sections(self) -> Sequence[Section]:
        """All of its sections of the page, with plots and pictures."""
        return self.kind.sections(self.summary)


def chapters(results: Sequence[Result]) -> list[Chapter]:
    """A chapter for each result."""
    return [Chapter(result) for result in results]


def tables(shown: Sequence[Chapter]) -> list[Table]:
    """All tables, in the order of the results."""
    return [table for chapter in shown for table in chapter.tables]


def first_warnings(shown: Sequence[Table]) -> list[str]:
    """What to say before all tables: their warnings; if these are many, that each has its own."""
    found = [warning for table in shown for warning in table.warnings]
    if not warned_apart(shown):
        return found
    doubtful = sum(bool(table.warnings) for table in shown)
    return [f"{doubtful} of {len(shown)} tables have a warning above them. Doubt their figures."]


def warned_apart(shown: Sequence[Table]) -> bool:
    """Whether warnings are too many to stand together."""
    return sum(len(table.warnings) for table in shown) > MOST_WARNINGS


def headlines(shown: Sequence[Chapter]) -> list[Headline]:
    """Speed against each baseline, agreement, start-up: what the results hold of them."""
    return [found for chapter in shown for found in chapter.kind.headlines(chapter.summary)]


def overviews(shown: Sequence[Chapter]) -> list[Section]:
    """Sections of the page that are about all results of a kind together."""
    return [
        section
        for name, kind in KINDS.items()
        for section in kind.overview([c.summary for c in shown if c.name == name])
    ]
