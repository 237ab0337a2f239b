"""How like what a target finds is to what the original finds, computed on reading.

Two detections are likes if they have the same class and their boxes overlap by half; each has one
like at most. Knows nothing of how it is shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from crossrun_bench.measurements.detection.result import Detection, DetectionResult
from crossrun_bench.models.boxes import OVERLAP, overlaps

_NEAR = 0.01  # to the lowest score there is, a detection may be missed for a hair's breadth


@dataclass(frozen=True)
class Likeness:
    """Of one picture, or of several: detections of both sides that are sure, and their likes."""

    sure: int
    alike: int
    score: float = 0.0  # the largest difference between likes
    corner: float = 0.0  # likewise, pixels of the picture

    @property
    def agreement(self) -> float | None:
        """The share of sure detections that have a like; None if there is none."""
        return self.alike / self.sure if self.sure else None


def together(parts: Sequence[Likeness]) -> Likeness:
    """Of several pictures."""
    return Likeness(
        sum(part.sure for part in parts),
        sum(part.alike for part in parts),
        max((part.score for part in parts), default=0.0),
        max((part.corner for part in parts), default=0.0),
    )


def likenesses(result: DetectionResult, target: int) -> list[Likeness]:
    """Of each picture, between a target, by its position, and the reference."""
    pairs = zip(result.targets[0].detections, result.targets[target].detections, strict=True)
    return [_likeness(reference, own, result) for reference, own in pairs]


def _likeness(
    reference: Sequence[Detection], own: Sequence[Detection], result: DetectionResult
) -> Likeness:
    sides = reference, own
    sure = [_sure(side, result) for side in sides]
    pairs = [pair for pair in _likes(*sides) if sure[0][pair[0]] or sure[1][pair[1]]]
    alike = [sum(sure[side][pair[side]] for pair in pairs) for side in (0, 1)]
    score, corner = 0.0, 0.0
    for i, j in pairs:
        score = max(score, abs(reference[i].score - own[j].score))
        edges = zip(reference[i].box, own[j].box, strict=True)
        corner = max(corner, *(abs(a - b) for a, b in edges))
    return Likeness(int(sum(map(sum, sure))), sum(alike), score, corner)


def _sure(side: Sequence[Detection], result: DetectionResult) -> list[bool]:
    """Which count: those that the other side would not miss for a hair's breadth.

    The lowest score there is are the score that was asked for, and the last of a full row.
    """
    full = side[-1].score if len(side) >= result.most else 0.0
    least = max(result.sure, result.min_score + _NEAR, full + _NEAR if full else 0.0)
    return [one.score >= least for one in side]


def _likes(one: Sequence[Detection], other: Sequence[Detection]) -> Iterator[tuple[int, int]]:
    """Pairs of positions, chosen so that all boxes together overlap the most."""
    if not one or not other:
        return
    shares = overlaps(_boxes(one)[:, None], _boxes(other)[None])
    shares[shares < OVERLAP] = 0
    shares[_classes(one)[:, None] != _classes(other)[None]] = 0
    for i, j in zip(*linear_sum_assignment(shares, maximize=True), strict=True):
        if shares[i, j]:
            yield int(i), int(j)


def _boxes(side: Sequence[Detection]) -> NDArray[np.float64]:
    return np.array([one.box for one in side])


def _classes(side: Sequence[Detection]) -> NDArray[np.int64]:
    return np.array([one.number for one in side])
