"""Whether rows that share a run leave each other alone: made-up rows, run alone and together.

What is run is a plain function. Knows no onnxruntime and no configuration.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from crossrun_server.proofs import row_difference, row_draws
from crossrun_server.proofs.random_inputs import Range
from crossrun_server.proofs.row_draws import Draw
from crossrun_server.scheduling.batching import Run, Tensors, check_rows
from crossrun_server.tensors.tensor_spec import Array, TensorSpec

PROVEN, MIXED, UNKNOWN = "proven", "mixed", "unknown"

# A row's answers alone and together may differ by this share of its largest: other batch sizes have
# other kernels, which add up in another order.
TOLERANCE, HALF_TOLERANCE = 1e-3, 2e-2
HALVES = {"FP16", "BF16"}
# Where only its neighbours change, the same kernels compute a row.
NEIGHBOURS = 1e-5
OTHERS = 1e-2  # of the largest in other rows counts as a row's own, which may be near zero

Group = tuple[int, ...]  # rows that share a run, by their places in a draw
PAIRS: tuple[Group, ...] = ((0, 1), (0, 2), (1, 0), (2, 0), (0, 0))
SWAPS = ((0, (0, 1), (0, 2)), (1, (1, 0), (2, 0)))  # a place, and two runs with one row there
TRIPLES: tuple[Group, ...] = ((0, 1, 2), (2, 0, 1), (1, 2, 0))
JITTERS = 4


@dataclass(frozen=True)
class Finding:
    """What was found of a model's rows, and why."""

    state: str  # PROVEN, MIXED or UNKNOWN
    reason: str


@dataclass(frozen=True)
class ProbeSpec:
    """What a model is asked: all that a finding depends on, but for the model."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    most: int  # rows of a run
    ranges: Mapping[str, Range] = field(default_factory=dict)  # of inputs, where they are known
    given: tuple[Tensors, ...] = ()  # requests of one row that the model is known to take
    tolerance: float = TOLERANCE  # of floats, see there
    numbers: frozenset[str] = frozenset()  # outputs of which 0 says something: indices of classes


class _Mixed(Exception):  # noqa: N818 - a finding, no error
    """Rows are not independent."""


class _Unknown(Exception):  # noqa: N818
    """Nothing can be found."""


class _Refused(Exception):  # noqa: N818
    """The model does not take such a row."""


def probe(run: Run, asked: ProbeSpec) -> Finding:
    """Run made-up rows alone and in runs of 2 and 3, with and without the optional inputs.

    Every output has to have one row for each, and the same for a row whoever its neighbours are.
    """
    counted = _Counted(run)
    required = tuple(spec for spec in asked.inputs if not spec.optional)
    try:
        with np.errstate(all="ignore"):
            told = [
                one
                for inputs in dict.fromkeys((required, asked.inputs))
                for one in _tell(counted, replace(asked, inputs=inputs))
            ]
    except _Mixed as mixed:
        return Finding(MIXED, str(mixed))
    except _Unknown as unknown:
        return Finding(UNKNOWN, str(unknown))
    if not any(one.apart for one in told):
        return Finding(UNKNOWN, "the model answers all made-up rows alike")
    shown = set(asked.numbers).union(*(one.shown for one in told))
    if silent := [spec.name for spec in asked.outputs if spec.name not in shown]:
        return Finding(UNKNOWN, f"output {silent[0]!r} is nothing or zeros for all made-up rows")
    return Finding(PROVEN, f"proven by {counted.runs} runs of made-up rows")


class _Told(NamedTuple):
    """What the answers to some rows say; if they say nothing, nothing is proven."""

    apart: bool  # whether they differ
    shown: set[str]  # the outputs that are more than zeros


class _Counted:
    """A run that counts."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.runs = 0

    def __call__(self, inputs: Tensors, outputs: Sequence[str]) -> Tensors:
        self.runs += 1
        return self._run(inputs, outputs)


def _tell(run: Run, asked: ProbeSpec) -> list[_Told]:
    """Try what is given, and made-up rows of the first kind that the model takes."""
    told, refusals = _tried(run, asked, row_draws.given(asked.inputs, asked.given))
    for kind in row_draws.kinds(asked.inputs, asked.ranges, asked.given):
        found, refused = _tried(run, asked, kind)
        told, refusals = told + found, refusals + refused
        if found:
            break
    if not told:
        raise _Unknown(f"the model refuses made-up rows: {refusals[0]}")
    return told


def _tried(run: Run, asked: ProbeSpec, trials: Iterable[Draw]) -> tuple[list[_Told], list[str]]:
    """Try each draw; of those that the model does not take there is the reason."""
    told, refusals = [], []
    for draw in trials:
        try:
            told.append(_Trial(run, asked, draw).tell())
        except _Refused as refused:
            refusals.append(str(refused))
    return told, refusals


class _Trial:
    """Three rows of one draw, and what the model says of them.

    Raises:
        _Refused: it does not take one of them alone.
    """

    def __init__(self, run: Run, asked: ProbeSpec, draw: Draw) -> None:
        self._run, self._asked = run, asked
        try:
            self._rows = draw()
        except MemoryError as error:
            raise _Refused("such a row does not fit in memory") from error
        self._alone = [self._answer_alone(row) for row in self._rows]
        self._scales = {
            spec.name: OTHERS
            * max(row_difference.largest(answer[spec.name]) for answer in self._alone)
            for spec in asked.outputs
        }
        self._moves: dict[int, dict[str, Array]] = {}

    def tell(self) -> _Told:
        """Compare all answers to the rows.

        Raises:
            _Mixed: an answer depends on who shares the run; or on nothing that is given.
            _Unknown: they cannot share a run.
        """
        self._check_again(self._alone, [self._answer_alone(row) for row in self._rows])
        most = self._asked.most
        pairs = {pair: self._together(pair) for pair in PAIRS if most >= len(pair)}
        if pairs:
            self._check_neighbours(pairs)
        for group in (*pairs, *(group for group in TRIPLES if most >= len(group))):
            self._check_alone(group, pairs.get(group) or self._together(group))
        first, *others = self._alone
        apart = any(self._apart(first, other, name) for other in others for name in first)
        shown = {
            name
            for answer in self._alone
            for name, array in answer.items()
            if row_difference.says(array)
        }
        return _Told(apart, shown)

    def _check_again(self, before: Sequence[Tensors], again: Sequence[Tensors]) -> None:
        for one, other in zip(before, again, strict=True):
            for spec in self._asked.outputs:
                if self._apart(one, other, spec.name) > self._allowed(spec):
                    raise _Mixed(f"output {spec.name!r} is another each time the same row is run")

    def _check_neighbours(self, pairs: Mapping[Group, Sequence[Tensors]]) -> None:
        again = self._together(PAIRS[0])
        self._check_again(pairs[PAIRS[0]], again)
        for place, one, other in SWAPS:
            for spec in self._asked.outputs:
                unsteady = self._apart(pairs[PAIRS[0]][0], again[0], spec.name)
                apart = self._apart(pairs[one][place], pairs[other][place], spec.name)
                if apart > 4 * unsteady + (
                    NEIGHBOURS if row_difference.is_float(spec.datatype) else 0
                ):
                    raise _Mixed(f"output {spec.name!r} of a row depends on the others of its run")

    def _check_alone(self, group: Group, answers: Sequence[Tensors]) -> None:
        for row, answer in zip(group, answers, strict=True):
            for spec in self._asked.outputs:
                if self._apart(self._alone[row], answer, spec.name) <= self._allowed(spec):
                    continue
                # An answer may hang by a hair: which of two is the larger, what is just enough.
                changed = self._changed(self._alone[row], answer, spec.name)
                if (changed > 2 * self._moved(row)[spec.name]).any():
                    raise _Mixed(
                        f"output {spec.name!r} of a row is another in a run of {len(group)} rows "
                        "than alone"
                    )

    def _moved(self, row: int) -> dict[str, Array]:
        """How much of the answers to a row changes where the row does, by the tolerance."""
        if row not in self._moves:
            self._moves[row] = self._move(row)
        return self._moves[row]

    def _move(self, row: int) -> dict[str, Array]:
        found = {name: np.zeros(1) for name in self._alone[row]}
        for seed in range(JITTERS):
            try:
                moved = self._answer_alone(
                    row_draws.jittered(self._rows[row], self._asked.tolerance, seed)
                )
            except _Refused:
                continue
            for name, most in found.items():
                changed = self._changed(self._alone[row], moved, name)
                found[name] = np.maximum(most, np.where(np.isfinite(changed), changed, 0))
        return found

    def _answer_alone(self, row: Tensors) -> Tensors:
        try:
            answer = self._run(row, self._names)
        except Exception as error:  # whatever the model raises
            raise _Refused(_plain(error)) from error
        return self._split(answer, 1)[0]

    def _together(self, group: Group) -> list[Tensors]:
        rows = [self._rows[i] for i in group]
        joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        try:
            answer = self._run(joined, self._names)
        except Exception as error:  # whatever the model raises
            text = f"a run of {len(group)} rows fails, and each alone does not: {_plain(error)}"
            raise _Unknown(text) from error
        return self._split(answer, len(group))

    @property
    def _names(self) -> list[str]:
        return [spec.name for spec in self._asked.outputs]

    def _split(self, answer: Tensors, rows: int) -> list[Tensors]:
        try:
            check_rows(answer, rows)
        except ValueError as error:
            raise _Mixed(str(error)) from error
        read = {
            s.name: row_difference.numbers(answer[s.name], s.datatype) for s in self._asked.outputs
        }
        return [{name: array[row, ...] for name, array in read.items()} for row in range(rows)]

    def _allowed(self, spec: TensorSpec) -> float:
        if not row_difference.is_float(spec.datatype):
            return 0
        return max(self._asked.tolerance, HALF_TOLERANCE if spec.datatype in HALVES else 0)

    def _apart(self, one: Tensors, other: Tensors, name: str) -> float:
        return row_difference.apart(one[name], other[name], self._scales[name])

    def _changed(self, one: Tensors, other: Tensors, name: str) -> Array:
        return row_difference.changed(one[name], other[name], self._scales[name])


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())  # onnxruntime's may have several lines
