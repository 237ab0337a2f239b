"""One trial of whether rows are independent: three rows, alone, in pairs and all together.

The run is a plain function. Knows no onnxruntime and no configuration.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from crossrun_server.proofs import row_difference, row_draws
from crossrun_server.proofs.random_inputs import Range
from crossrun_server.proofs.row_draws import Draw
from crossrun_server.scheduling.batching import Run, Tensors, check_rows
from crossrun_server.tensors.tensor_spec import Array, TensorSpec

# A row's answers alone and together may differ by this share of its largest value: for other batch
# sizes there are other kernels, which add up in another order.
TOLERANCE, HALF_TOLERANCE = 1e-3, 2e-2
HALVES = {"FP16", "BF16"}
# The tolerance between runs of the same size, for which the same kernels compute a row.
NEIGHBOURS = 1e-5
OTHERS = 1e-2  # share of other rows' largest value that counts as a row's own, if that is near zero

Group = tuple[int, ...]  # rows that share a run, by their places in a draw
PAIRS: tuple[Group, ...] = ((0, 1), (0, 2), (1, 0), (2, 0), (0, 0))
SWAPS = ((0, (0, 1), (0, 2)), (1, (1, 0), (2, 0)))  # a place, and two runs with the same row there
TRIPLES: tuple[Group, ...] = ((0, 1, 2), (2, 0, 1), (1, 2, 0))
JITTERS = 4


@dataclass(frozen=True)
class ProbeSpec:
    """All that a finding depends on, apart from the model."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    most: int  # rows of a run
    ranges: Mapping[str, Range] = field(default_factory=dict)  # of inputs, if they are known
    given: tuple[Tensors, ...] = ()  # requests of one row that the model is known to accept
    tolerance: float = TOLERANCE  # of floats
    numbers: frozenset[str] = frozenset()  # outputs of class indices, in which 0 means something


class TrialOutcome(NamedTuple):
    """What the answers to some rows show; if they show nothing, nothing is proven."""

    apart: bool  # whether they differ
    shown: set[str]  # the outputs that are not all zeros


class Mixed(Exception):  # noqa: N818 - a finding, no error
    """Rows are not independent."""


class Unknown(Exception):  # noqa: N818
    """Nothing can be found."""


class Refused(Exception):  # noqa: N818
    """The model does not accept such a row."""


def trial(run: Run, spec: ProbeSpec, draw: Draw) -> TrialOutcome:
    """Compare all answers to three rows.

    Raises:
        Refused: the model does not accept one of the rows alone.
        Mixed: an answer depends on the other rows of its run, or changes from run to run.
        Unknown: the rows cannot share a run.
    """
    return _Trial(run, spec, draw).outcome()


class _Trial:
    """Three rows of one draw, and the model's answers to them."""

    def __init__(self, run: Run, spec: ProbeSpec, draw: Draw) -> None:
        self._run, self._spec = run, spec
        try:
            self._rows = draw()
        except MemoryError as error:
            raise Refused("such a row does not fit in memory") from error
        self._alone = [self._answer_alone(row) for row in self._rows]
        self._scales = {
            tensor.name: OTHERS
            * max(row_difference.largest(answer[tensor.name]) for answer in self._alone)
            for tensor in spec.outputs
        }
        self._moves: dict[int, dict[str, Array]] = {}

    def outcome(self) -> TrialOutcome:
        self._check_again(self._alone, [self._answer_alone(row) for row in self._rows])
        most = self._spec.most
        pairs = {pair: self._together(pair) for pair in PAIRS if most >= len(pair)}
        if pairs:
            self._check_neighbours(pairs)
        for group in (*pairs, *(group for group in TRIPLES if most >= len(group))):
            self._check_alone(group, pairs.get(group) or self._together(group))
        return TrialOutcome(self._differ(), self._shown())

    def _differ(self) -> bool:
        first, *others = self._alone
        return any(bool(self._apart(first, other, name)) for other in others for name in first)

    def _shown(self) -> set[str]:
        pairs = (pair for answer in self._alone for pair in answer.items())
        return {name for name, array in pairs if row_difference.is_telling(array)}

    def _check_again(self, before: Sequence[Tensors], again: Sequence[Tensors]) -> None:
        """Check that the same run has the same answers."""
        for one, other in zip(before, again, strict=True):
            for tensor in self._spec.outputs:
                if self._apart(one, other, tensor.name) > self._allowed(tensor):
                    raise Mixed(f"output {tensor.name!r} is another each time the same row is run")

    def _check_neighbours(self, pairs: Mapping[Group, Sequence[Tensors]]) -> None:
        """Check that a row's answer stays the same if the other row of its pair changes."""
        again = self._together(PAIRS[0])
        self._check_again(pairs[PAIRS[0]], again)
        for place, one, other in SWAPS:
            for tensor in self._spec.outputs:
                unsteady = self._apart(pairs[PAIRS[0]][0], again[0], tensor.name)
                apart = self._apart(pairs[one][place], pairs[other][place], tensor.name)
                allowed = NEIGHBOURS if row_difference.is_float(tensor.datatype) else 0
                if apart > 4 * unsteady + allowed:
                    raise Mixed(f"output {tensor.name!r} of a row depends on the others of its run")

    def _check_alone(self, group: Group, answers: Sequence[Tensors]) -> None:
        """Check that each row of a group has the answer that it has alone."""
        for row, answer in zip(group, answers, strict=True):
            for tensor in self._spec.outputs:
                if self._apart(self._alone[row], answer, tensor.name) <= self._allowed(tensor):
                    continue
                # A tiny change may decide which of two is larger, or whether a limit is reached.
                changed = self._changed(self._alone[row], answer, tensor.name)
                if (changed > 2 * self._moved(row)[tensor.name]).any():
                    raise Mixed(
                        f"output {tensor.name!r} of a row is another in a run of {len(group)} rows "
                        "than alone"
                    )

    def _moved(self, row: int) -> dict[str, Array]:
        """Return how much the answers to a row change if the row changes by the tolerance."""
        if row not in self._moves:
            self._moves[row] = self._move(row)
        return self._moves[row]

    def _move(self, row: int) -> dict[str, Array]:
        found = {name: np.zeros(1) for name in self._alone[row]}
        for seed in range(JITTERS):
            jittered = row_draws.jittered(self._rows[row], self._spec.tolerance, seed)
            try:
                moved = self._answer_alone(jittered)
            except Refused:
                continue
            for name, most in found.items():
                changed = self._changed(self._alone[row], moved, name)
                found[name] = np.maximum(most, np.where(np.isfinite(changed), changed, 0))
        return found

    def _answer_alone(self, row: Tensors) -> Tensors:
        try:
            answer = self._run(row, self._names)
        except Exception as error:  # whatever the model raises
            raise Refused(_one_line(error)) from error
        return self._split(answer, 1)[0]

    def _together(self, group: Group) -> list[Tensors]:
        rows = [self._rows[i] for i in group]
        joined = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        try:
            answer = self._run(joined, self._names)
        except Exception as error:  # whatever the model raises
            text = f"a run of {len(group)} rows fails, and each alone does not: {_one_line(error)}"
            raise Unknown(text) from error
        return self._split(answer, len(group))

    @property
    def _names(self) -> list[str]:
        return [tensor.name for tensor in self._spec.outputs]

    def _split(self, answer: Tensors, rows: int) -> list[Tensors]:
        try:
            check_rows(answer, rows)
        except ValueError as error:
            raise Mixed(str(error)) from error
        read = {
            tensor.name: row_difference.numbers(answer[tensor.name], tensor.datatype)
            for tensor in self._spec.outputs
        }
        return [{name: array[row, ...] for name, array in read.items()} for row in range(rows)]

    def _allowed(self, tensor: TensorSpec) -> float:
        if not row_difference.is_float(tensor.datatype):
            return 0
        return max(self._spec.tolerance, HALF_TOLERANCE if tensor.datatype in HALVES else 0)

    def _apart(self, one: Tensors, other: Tensors, name: str) -> float:
        return row_difference.apart(one[name], other[name], self._scales[name])

    def _changed(self, one: Tensors, other: Tensors, name: str) -> Array:
        return row_difference.changed(one[name], other[name], self._scales[name])


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())  # onnxruntime's may have several lines
