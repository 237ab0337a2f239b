"""How far a model's answers are from those in its proof, and how many are the same.

Knows arrays. Runs nothing, and knows no provider.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossrun_server.errors import LoadError
from crossrun_server.proofs.proof_file import (
    BOXES,
    CLASSES,
    COUNT,
    DETECTED,
    DETECTIONS,
    SCORES,
    Proof,
    stale,
)
from crossrun_server.tensors.tensor_spec import Array

OVERLAP = 0.5  # the least overlap of two boxes that may be of one object

Floats = NDArray[np.float64]


class Worst(NamedTuple):
    """The output that is off the furthest, relative to what is allowed."""

    output: str
    difference: float
    allowed: float

    @property
    def fits(self) -> bool:
        """Whether the difference is allowed; NaN never is."""
        return self.difference <= self.allowed


@dataclass
class Differences:
    """How far answers are from a proof: the largest difference of each output, which may be NaN."""

    differences: dict[str, float] = field(default_factory=dict)
    same: int = 0
    compared: int = 0

    def worst(self, allowed: Mapping[str, float]) -> Worst:
        """Find the output that is off the furthest, relative to what is allowed of each."""
        every = [Worst(name, value, allowed[name]) for name, value in self.differences.items()]
        return max(every, key=_excess)

    @property
    def agreement(self) -> float | None:
        """The share of answers that are the same; None if there is nothing to count."""
        return self.same / self.compared if self.compared else None

    def add(self, other: "Differences") -> None:
        """Add the differences of other answers."""
        for name, value in other.differences.items():
            self.differences[name] = float(np.max([self.differences.get(name, 0.0), value]))
        self.same, self.compared = self.same + other.same, self.compared + other.compared


def _excess(one: Worst) -> float:
    """Return the difference as a multiple of what is allowed; infinity for NaN."""
    if math.isnan(one.difference):
        return math.inf
    return one.difference / max(one.allowed, np.finfo(np.float64).tiny)


def compare(proof: Proof, rows: Sequence[int], got: Mapping[str, Array]) -> Differences:
    """Compare answers to some rows of the proof.

    Raises:
        LoadError: an output has another shape.
    """
    expected = {name: array[list(rows)] for name, array in proof.outputs.items()}
    shaped = {name: _shaped(name, got[name], array) for name, array in expected.items()}
    found = Differences()
    if DETECTIONS in proof.max_diff:
        _add_detections(found, expected, shaped, proof)
    for name in expected.keys() - (DETECTED if DETECTIONS in proof.max_diff else ()):
        found.differences[name] = difference(expected[name], shaped[name])
    if proof.classes:
        found.same += _same(expected[proof.classes], shaped[proof.classes], proof)
        found.compared += len(rows)
    return found


def difference(expected: Array, got: Array) -> float:
    """Return the largest difference of two values at the same place; NaN if one of them is NaN.

    Places where `expected` is NaN are not compared. Equal infinities do not differ.
    """
    one, other = expected.astype(np.float64), got.astype(np.float64)
    held = ~np.isnan(one) & (one != other)
    with np.errstate(invalid="ignore"):
        return float(np.max(np.abs(one - other)[held], initial=0.0))


def _shaped(name: str, got: Array, expected: Array) -> Array:
    """Return an answer in the graph's shape, which reshape in config.pbtxt may have changed."""
    if got.size != expected.size or got.dtype.kind not in "biuf":
        raise LoadError(
            f"{stale()}: its output {name!r} is {list(expected.shape)}, "
            f"the model returns {list(got.shape)}"
        )
    return got.reshape(expected.shape)


def _same(expected: Array, got: Array, proof: Proof) -> int:
    """Count the rows whose best class is one of the original's best, ties within the tolerance.

    If a row is a single number, count the rows that lie on the same side of the threshold.
    """
    tie, least = proof.max_diff[proof.classes], proof.decides
    if expected.shape[1] == 1:
        same = ((expected > least) == (got > least)) | (np.abs(expected - least) <= tie)
        return int(same.sum())
    chosen = np.take_along_axis(expected, got.argmax(axis=1)[:, None], axis=1)[:, 0]
    return int((chosen >= expected.max(axis=1) - tie).sum())


def _add_detections(
    found: Differences, expected: Mapping[str, Array], got: Mapping[str, Array], proof: Proof
) -> None:
    """Compare the detections of each picture.

    A detection is sure if its score is above the least by more than the tolerance. The least is
    the threshold, or the lowest score of a full row. The counterpart of a detection has the same
    class, and a box that overlaps its box by OVERLAP. The difference is the largest of a score or
    a corner between counterparts; the agreement is the share of sure detections, of both sides,
    that have a counterpart.
    """
    largest = 0.0 if all(np.isfinite(got[name]).all() for name in (BOXES, SCORES)) else math.nan
    for picture in range(len(expected[COUNT])):
        mine, my_sure = _of(expected, picture, proof)
        its, its_sure = _of(got, picture, proof)
        away = _away(mine, its)
        for nearest, sure in ((away.min(1, initial=np.inf), my_sure),
                              (away.min(0, initial=np.inf), its_sure)):  # fmt: skip
            alike = nearest[sure][nearest[sure] < np.inf]
            largest = float(np.max(alike, initial=largest))
            found.same, found.compared = found.same + len(alike), found.compared + int(sure.sum())
    found.differences[DETECTIONS] = largest


def _of(
    outputs: Mapping[str, Array], picture: int, proof: Proof
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return class, score and box of each detection, [found, 6], and whether each is sure."""
    most = outputs[SCORES].shape[1]
    count = max(0, min(int(outputs[COUNT][picture]), most))
    scores = outputs[SCORES][picture, :count]
    least = max(proof.threshold, scores.min() if 0 < count == most else 0.0)
    columns = (outputs[CLASSES][picture, :count], scores, outputs[BOXES][picture, :count])
    sure = scores > least + proof.max_diff[DETECTIONS]
    return np.column_stack(columns).astype(np.float64), sure


def _away(mine: Floats, its: Floats) -> Floats:
    """Return how far each is from each, [mine, its]; infinity if they are not of one object."""
    away = np.abs(mine[:, None] - its[None])
    unlike = (away[..., 0] > 0) | (_overlap(mine[:, None, 2:], its[None, :, 2:]) < OVERLAP)
    return np.where(unlike, np.inf, away[..., 1:].max(axis=2))


def _overlap(one: Floats, other: Floats) -> Floats:
    """Return the intersection over union of boxes ymin xmin ymax xmax."""
    low, high = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    common = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1) for boxes in (one, other)]
    share: Floats = common / np.maximum(areas[0] + areas[1] - common, np.finfo(np.float64).tiny)
    return share
