"""One of the two results that are compared."""

from dataclasses import dataclass

from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.kinds import KINDS, name_of
from crossrun_bench.measurements.result import Result
from crossrun_bench.view.doubts import doubts
from crossrun_bench.view.series import Comparable


@dataclass(frozen=True)
class Side:
    """A result, and all of it that another of its kind is compared with."""

    kind: str
    result: Result
    told: Comparable

    @property
    def doubts(self) -> tuple[str, ...]:
        """What makes its figures doubtful, each as a sentence."""
        trips = KINDS[self.kind].trips(self.result)
        return doubts(self.kind.capitalize(), self.result.machine.noise, trips)


def sides(before: Result, after: Result) -> tuple[Side, Side]:
    """Both results.

    Raises:
        BenchError: they are of different commands, or of one whose results are not compared.
    """
    kinds = name_of(before), name_of(after)
    comparable = KINDS[kinds[0]].comparable
    if comparable is None:
        raise BenchError(f"results of '{kinds[0]}' cannot be compared yet")
    if kinds[0] != kinds[1]:
        raise BenchError(f"cannot compare results of '{kinds[0]}' with those of '{kinds[1]}'")
    return Side(kinds[0], before, comparable(before)), Side(kinds[1], after, comparable(after))
