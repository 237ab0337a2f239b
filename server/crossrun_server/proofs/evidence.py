"""How far answers are from those they are held against, and how that is told.

Knows arrays; runs nothing and knows no provider.
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
    PHOTOGRAPHS,
    SCORES,
    Proof,
    stale,
)
from crossrun_server.tensors.tensor_spec import Array

OVERLAP = 0.5  # of two boxes, from which on they may be of one object
NOTHING, RANDOM = "nothing", "random"  # what a session is held against that has no proof

Floats = NDArray[np.float64]


class Worst(NamedTuple):
    """The output that is off the furthest, measured by what is allowed."""

    output: str
    difference: float
    allowed: float

    @property
    def fits(self) -> bool:
        """Whether it is within what is allowed; NaN is not."""
        return self.difference <= self.allowed


@dataclass(frozen=True)
class Evidence:
    """What a session was held against before it served, and how far from that it is."""

    origin: str = NOTHING  # of the inputs: photographs or drawn, of a proof; RANDOM
    difference: float | None = None  # the largest; None where nothing was compared
    agreement: float | None = None  # share of equal answers; None where there is no such share
    allowed: float | None = None  # the largest difference that is
    precision: str = ""  # in which the model was proven
    asked: str = ""  # in which its provider was told to compute fp32; empty where nothing says
    rows: int = 0  # that were compared
    note: str = ""  # why nothing was compared, or is held
    left_out: tuple[str, ...] = ()  # outputs of which a proof says nothing

    def __str__(self) -> str:
        asked = f", told to compute in {self.asked}" if self.asked else ""
        if self.difference is None:
            return f"no proof{self.note and f'; {self.note}'}{asked}"
        held = f"allowed {self.allowed:.2g}" if self.allowed is not None else self.note
        if self.origin == RANDOM:
            against = f"the CPU provider on random inputs ({held})"
            return f"no proof; within {self.difference:.2g} of {against}{asked}"
        same = "" if self.agreement is None else f", {self.agreement:.2%} of answers the same"
        kind = "photograph" if self.origin == PHOTOGRAPHS else "drawn picture"
        against = f"the original on {self.rows} {kind}{'s' * (self.rows > 1)}"
        rest = f"; no proof of {', '.join(self.left_out)}" if self.left_out else ""
        told = f"within {self.difference:.2g} of {against} ({self.precision}, {held}){same}"
        return f"{told}{asked}{rest}"


@dataclass
class Differences:
    """How far answers are from a proof: by output the largest difference, NaN for no number."""

    differences: dict[str, float] = field(default_factory=dict)
    same: int = 0
    compared: int = 0

    def worst(self, allowed: Mapping[str, float]) -> Worst:
        """The output that is off the furthest, by what is allowed of each."""
        every = [Worst(name, value, allowed[name]) for name, value in self.differences.items()]
        return max(every, key=_excess)

    @property
    def agreement(self) -> float | None:
        """The share of answers that are the same; None where none can be."""
        return self.same / self.compared if self.compared else None

    def add(self, other: "Differences") -> None:
        """Add what other answers differ by."""
        for name, value in other.differences.items():
            self.differences[name] = float(np.max([self.differences.get(name, 0.0), value]))
        self.same, self.compared = self.same + other.same, self.compared + other.compared


def _excess(one: Worst) -> float:
    """How many times what is allowed it is off; the most where it is no number."""
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
    """The largest difference of two numbers at one place, NaN where one is no number.

    Where `expected` is NaN nothing is compared; infinities are equal.
    """
    one, other = expected.astype(np.float64), got.astype(np.float64)
    held = ~np.isnan(one) & (one != other)
    with np.errstate(invalid="ignore"):
        return float(np.max(np.abs(one - other)[held], initial=0.0))


def _shaped(name: str, got: Array, expected: Array) -> Array:
    """An answer in the graph's shape: reshape in config.pbtxt may have given it another."""
    if got.size != expected.size or got.dtype.kind not in "biuf":
        raise LoadError(
            f"{stale()}: its output {name!r} is {list(expected.shape)}, "
            f"the model gives {list(got.shape)}"
        )
    return got.reshape(expected.shape)


def _same(expected: Array, got: Array, proof: Proof) -> int:
    """How many rows have one of the original's best classes, ties within the tolerance aside.

    Of a single number a row, how many lie on the same side of the one that decides.
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
    """Compare what is found, picture by picture.

    A detection is sure if its score is over the least, the threshold or the lowest of a full row,
    by more than the tolerance. Its like on the other side has the same class and a box that
    overlaps its own by OVERLAP. The difference is the largest between likes, of a score or a
    corner; the agreement is the share of sure detections, of both sides, that have a like.
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


def _of(found: Mapping[str, Array], picture: int, proof: Proof) -> tuple[Floats, NDArray[np.bool_]]:
    """Class, score and box of each detection, [found, 6], and whether it is sure."""
    most = found[SCORES].shape[1]
    count = max(0, min(int(found[COUNT][picture]), most))
    scores = found[SCORES][picture, :count]
    least = max(proof.threshold, scores.min() if 0 < count == most else 0.0)
    columns = (found[CLASSES][picture, :count], scores, found[BOXES][picture, :count])
    sure = scores > least + proof.max_diff[DETECTIONS]
    return np.column_stack(columns).astype(np.float64), sure


def _away(mine: Floats, its: Floats) -> Floats:
    """How far each is from each, [mine, its]; infinitely, if they cannot be of one object."""
    away = np.abs(mine[:, None] - its[None])
    unlike = (away[..., 0] > 0) | (_overlap(mine[:, None, 2:], its[None, :, 2:]) < OVERLAP)
    return np.where(unlike, np.inf, away[..., 1:].max(axis=2))


def _overlap(one: Floats, other: Floats) -> Floats:
    """Intersection over union of boxes ymin xmin ymax xmax."""
    low, high = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    common = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1) for boxes in (one, other)]
    share: Floats = common / np.maximum(areas[0] + areas[1] - common, np.finfo(np.float64).tiny)
    return share
