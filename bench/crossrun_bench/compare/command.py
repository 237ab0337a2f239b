"""`crossrun-bench compare`: two results of the same command, metric by metric.

Targets and settings that both files hold are compared. What there is to compare, each measurement
says; what is noise, verdicts.py does.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from crossrun_bench.compare.changes import once_and_answers, speeds
from crossrun_bench.compare.likeness import Pair, differing, unlike
from crossrun_bench.compare.placed import left_out, together
from crossrun_bench.compare.relative import moved, relative
from crossrun_bench.compare.rows import rows
from crossrun_bench.compare.side import Side, sides
from crossrun_bench.compare.verdicts import Change, Condition
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.result import Result
from crossrun_bench.view.series import Key, Row


@dataclass(frozen=True)
class Compared:
    """What two results hold in common, and what they do not."""

    before: Side
    after: Side
    unlike: list[Pair]
    differing: list[Pair]
    alone: tuple[list[str], list[str]]  # what only one file holds: of before, of after
    left_out: str | None  # which rounds are not compared, as a sentence
    reference: str | None  # the target whose times speeds are multiples of
    apart: float  # percent that two runs of the same thing lie apart
    changes: list[Change]
    unpaired: list[tuple[Row, str]]  # rows without a change, and the file that has them

    def broken(self, condition: Condition) -> list[Change]:
        """The changes that break a condition.

        Raises:
            BenchError: there is nothing to judge by.
        """
        about = [change for change in self.changes if condition.about(change)]
        if not about:
            raise BenchError(f"--fail-if '{condition.text}': these results hold nothing like it")
        if doubt := next(self._doubts(condition, about), None):
            raise BenchError(f"--fail-if '{condition.text}': {doubt}")
        return [change for change in about if condition.broken(change)]

    def _doubts(self, condition: Condition, about: Sequence[Change]) -> Iterator[str]:
        """Why it cannot be judged whether a condition holds."""
        for (target, setting, metric), side in self.unpaired:
            if condition.concerns(target, metric):
                yield f"{target}, {setting}: only {side} tells its {metric}"
        for target, count in self.after.told.failed.items():
            if condition.concerns(target, condition.metric.name):
                yield f"{target}: {count:,} requests of B failed, and are in no figure"
        for change in about:
            where = f"{change.target}, {change.setting}"
            if change.low is None or change.high is None:
                yield f"{where}: expected at least 5 rounds"
            elif not np.isfinite([change.value, change.low, change.high]).all():
                yield f"{where}: the change is no number"


def compare(
    before: Result,
    after: Result,
    *,
    apart: float,
    allow_unlike: bool,
    reference: str | None = None,
) -> Compared:
    """All changes from `before` to `after`.

    Args:
        before: a result.
        after: another of the same command.
        apart: percent that two runs of the same thing lie apart.
        allow_unlike: whether machines and models may differ.
        reference: the target whose multiples speeds are; none for milliseconds.

    Raises:
        BenchError: the results are of two kinds, or unlike; the files have nothing in common, or
            no such reference.
    """
    one, other = sides(before, after)
    differences = _differences(one, other, allow_unlike)
    every = one.told.series, other.told.series
    a, b = used = together(*every)
    also = differing(one, other)
    if reference:
        also += moved(a, b, reference)
        a, b = relative(a, reference), relative(b, reference)
    changes = [*speeds(a, b, apart / 100), *once_and_answers(one.told, other.told)]
    if not changes:
        raise BenchError("nothing to compare: the files share no target at the same setting")
    alone = _only(*every), _only(*reversed(every))
    some = left_out(*every, used)
    unpaired = _unpaired(rows(one.told, reference), rows(other.told, reference), changes)
    return Compared(one, other, differences, also, alone, some, reference, apart, changes, unpaired)


def _differences(one: Side, other: Side, allow_unlike: bool) -> list[Pair]:
    found = unlike(one, other)
    if found and not allow_unlike:
        named = "; ".join(f"{name}: {a} and {b}" for name, a, b in found)
        raise BenchError(f"not alike, see --allow-unlike: {named}")
    return found


def _unpaired(
    before: set[Row], after: set[Row], changes: Sequence[Change]
) -> list[tuple[Row, str]]:
    """The rows without a change."""
    told = {(change.target, change.setting, change.metric.name) for change in changes}
    files = dict.fromkeys(before, "A") | dict.fromkeys(after, "B")
    both = before & after  # such as those whose rounds are all unlike
    names = ((row, "one round" if row in both else file) for row, file in files.items())
    return sorted((row, file) for row, file in names if row not in told)


def _only(own: Iterable[Key], other: Iterable[Key]) -> list[str]:
    return [", ".join(key) for key in own if key not in other]
