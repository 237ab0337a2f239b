"""How far two sets of answers to the same questions are apart. Knows arrays alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossrun_client.tensors import Array

OVERLAP = 0.5  # the least overlap of two boxes that may be of one object
# What providers may differ by in fp32: as much as the export's proof allows without one.
ABSOLUTE, RELATIVE = 1e-4, 1e-3
# What a precision may cost: the export's --min-reduced-agreement, and for answers that are neither
# classes nor objects the tenth that it allows of quantized scores.
AGREEMENT, REDUCED = 0.8, 0.1

# Of one question: a classifier's score of each class [classes]; a detector's objects [found, 6],
# class, score, and box ymin xmin ymax xmax as shares of the picture; or the outputs by name.
Answer = dict[str, Array]
CLASSES, OBJECTS = "classes", "objects"


@dataclass(frozen=True)
class Likeness:
    """How far answers are apart, and how many are the same."""

    difference: float  # the largest of two numbers at one place; infinity if places differ
    same: int  # classes or objects
    compared: int  # of these; 0 if there are none to count

    @property
    def agreement(self) -> float | None:
        """The share of answers that are the same, 0 to 1; None if there are none to count."""
        return self.same / self.compared if self.compared else None


@dataclass(frozen=True)
class Allowed:
    """What answers may differ by, and why."""

    difference: float  # infinity: any
    agreement: float
    because: str

    def holds(self, found: Likeness) -> bool:
        """Whether answers are alike; NaN never is."""
        agreement = 1.0 if found.agreement is None else found.agreement
        return found.difference <= self.difference and agreement >= self.agreement


def exact(tolerance: float | None, largest: float) -> Allowed:
    """Return what is allowed of a model in the same precision.

    Args:
        tolerance: of the model's proof; None without one.
        largest: the largest number in its answers.
    """
    if tolerance is not None:
        return Allowed(tolerance, 1.0, "by the model's proof")
    return Allowed(ABSOLUTE + RELATIVE * largest, 1.0, "as without a proof")


def reduced(largest: float, *, countable: bool) -> Allowed:
    """Return what is allowed of another precision.

    Args:
        largest: the largest number in the answers.
        countable: whether they are classes or objects.
    """
    if countable:
        return Allowed(math.inf, AGREEMENT, "another precision, as the export asks for")
    return Allowed(REDUCED * largest, 0.0, "another precision, a tenth of the largest number")


def compare(before: Sequence[Answer], after: Sequence[Answer], tie: float) -> Likeness:
    """Compare the answers to each question.

    Args:
        before: to the model as it was.
        after: to the model as it is, as many.
        tie: the difference up to which two classes have no order.
    """
    found = [_compared(one, other, tie) for one, other in zip(before, after, strict=True)]
    return Likeness(
        float(np.max([one.difference for one in found], initial=0.0)),  # keeps NaN
        sum(one.same for one in found),
        sum(one.compared for one in found),
    )


def _compared(before: Answer, after: Answer, tie: float) -> Likeness:
    if before.keys() != after.keys():
        return Likeness(math.inf, 0, 0)
    if CLASSES in before:
        return _classes(before[CLASSES], after[CLASSES], tie)
    if OBJECTS in before:
        return _objects(before[OBJECTS], after[OBJECTS], tie)
    return Likeness(max(difference(before[name], after[name]) for name in before), 0, 0)


def difference(one: Array, other: Array) -> float:
    """Return the largest difference of two numbers at one place; NaN if one of them alone is NaN.

    Arrays of different shapes are infinitely far apart.
    """
    if one.shape != other.shape:
        return math.inf
    unlike = (one != other) & ~(np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore"):
        return float(np.max(np.abs(one - other)[unlike], initial=0.0))


def _classes(before: Array, after: Array, tie: float) -> Likeness:
    apart = difference(before, after)
    if math.isinf(apart) or not before.size:
        return Likeness(apart, 0, 1)
    return Likeness(apart, int(before[after.argmax()] >= before.max() - tie), 1)


def _objects(before: Array, after: Array, tie: float) -> Likeness:
    """Compare each object with the nearest of its class whose box overlaps, on the other side.

    An object whose score is within `tie` of the lowest is not counted: it may be left out.
    """
    scores = np.concatenate([before[:, 1], after[:, 1]])
    sure = scores > scores.min(initial=np.inf) + tie
    away = np.abs(before[:, None] - after[None])
    unlike = (away[..., 0] > 0) | (_overlap(before[:, None, 2:], after[None, :, 2:]) < OVERLAP)
    away = np.where(unlike, np.inf, away[..., 1:].max(axis=2))
    nearest = np.concatenate([away.min(1, initial=np.inf), away.min(0, initial=np.inf)])[sure]
    alike = nearest[nearest < np.inf]
    return Likeness(float(np.max(alike, initial=0.0)), len(alike), len(nearest))


def _overlap(one: Array, other: Array) -> Array:
    """Return the intersection over union of boxes ymin xmin ymax xmax."""
    low, high = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    common = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1) for boxes in (one, other)]
    share: Array = common / np.maximum(areas[0] + areas[1] - common, 1e-12)
    return share
