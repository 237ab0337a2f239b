"""How like what a target finds is to what the original finds, computed on reading.

Two detections are likes if they have the same class and their boxes overlap by half; each has one
like at most. Knows nothing of how it is shown.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.measurements.detection.result import Box, Detection, DetectionResult
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
    pairs = list(_likes(reference, own))
    ends = [set(side) for side in zip(*pairs, strict=True)] or [set(), set()]
    sure = [
        _sure(reference, own, ends[0], result),
        _sure(own, reference, ends[1], result),
    ]
    score, corner = 0.0, 0.0
    for i, j in pairs:
        if i in sure[0] or j in sure[1]:
            score = max(score, abs(reference[i].score - own[j].score))
            corner = max(corner, _apart(reference[i].box, own[j].box))
    alike = sum(len(some & having) for some, having in zip(sure, ends, strict=True))
    return Likeness(sum(map(len, sure)), alike, score, corner)


def _sure(
    side: Sequence[Detection],
    other: Sequence[Detection],
    having: Collection[int],
    result: DetectionResult,
) -> set[int]:
    """Positions of those that count: the other side would not miss them by a hair's breadth.

    It may miss one without a like at the lowest score that was asked for, and at the end of a full
    row.
    """
    least = max(result.sure, result.min_score + _NEAR)
    full = other[-1].score + _NEAR if len(other) >= result.most else 0.0
    alone = max(least, full)
    return {i for i, one in enumerate(side) if one.score >= (least if i in having else alone)}


def _apart(one: Box, other: Box) -> float:
    """The largest difference of two edges."""
    return max(abs(a - b) for a, b in zip(one, other, strict=True))


def _likes(one: Sequence[Detection], other: Sequence[Detection]) -> Iterator[tuple[int, int]]:
    """Pairs of positions, chosen so that all boxes together overlap the most."""
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - takes a while to import

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
