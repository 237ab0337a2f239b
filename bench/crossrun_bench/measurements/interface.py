"""What the report and `compare` know of a measurement. Knows none itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from crossrun_bench.measurements.result import Result
from crossrun_bench.view.headline import Headline
from crossrun_bench.view.section import Section
from crossrun_bench.view.series import Comparable
from crossrun_bench.view.table import Table

R = TypeVar("R", bound=Result)
S = TypeVar("S")


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[R, S]):
    """One kind of result: its type, its summary, and what is made of either.

    A summary is computed once, with all of its bootstraps; whatever is shown is made from it.
    """

    result: type[R]
    subject: Callable[[R], str]  # what was measured, in a line
    summarise: Callable[[R], S]
    tables: Callable[[S], Sequence[Table]]
    headlines: Callable[[S], Sequence[Headline]] = lambda _: ()
    sections: Callable[[S], Sequence[Section]]  # of the page
    # Of the page, about all results of this kind together.
    overview: Callable[[Sequence[S]], Sequence[Section]] = lambda _: ()
    comparable: Callable[[R], Comparable] | None = None  # None if results are not compared
    # Nanoseconds from core to core and back, before each turn that has them.
    trips: Callable[[R], Sequence[int]] = lambda _: ()
