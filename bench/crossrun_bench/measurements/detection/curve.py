"""Precision and recall against the score from which on an object counts, computed on reading.

pycocotools matches objects and truths, at an IoU of 0.5. Knows nothing of how it is shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.measurements.detection.average_precision import Found, Truths, evaluated

# Scores that are looked at: to find a threshold, hundredths are enough.
SCORES = tuple(round(i / 100, 2) for i in range(1, 100))


@dataclass(frozen=True)
class Point:
    """What counting from one score on finds. All classes together, each object alike."""

    score: float
    found: int
    right: int
    there: int  # objects to find

    @property
    def precision(self) -> float:
        """The share of what is found that is right; 1 if nothing is found."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """The share of what is there that is found."""
        return self.right / self.there

    @property
    def f1(self) -> float:
        """The harmonic mean of both."""
        return 2 * self.right / (self.found + self.there)


@lru_cache(maxsize=16)  # a report asks several times
def curve(truths: Truths, found: Found, classes: tuple[int, ...], least: float) -> Sequence[Point]:
    """A point for each of SCORES from `least` on.

    Args:
        truths: of each picture.
        found: by one target in each picture.
        classes: that truths are known of; whatever is found of others counts neither way.
        least: the lowest score that the target was asked for.
    """
    scores, right, there = _matched(truths, found, classes)
    return [
        Point(score, int((scores >= score).sum()), int(right[scores >= score].sum()), there)
        for score in SCORES
        if score >= least
    ]


def best(points: Sequence[Point]) -> Point:
    """The point with the best F1; of several the one that counts most."""
    return max(points, key=lambda point: point.f1)


def _matched(
    truths: Truths, found: Found, classes: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], int]:
    """The score of each object found, whether it is one that is there, and how many are there.

    What matches a crowd is left out.
    """
    each = [one for one in evaluated(truths, found, classes).evalImgs if one]
    ignored = np.concatenate([one["dtIgnore"][0] for one in each]).astype(bool)
    scores = np.concatenate([one["dtScores"] for one in each])
    right = np.concatenate([one["dtMatches"][0] for one in each]) > 0
    there = sum(int((~np.asarray(one["gtIgnore"], bool)).sum()) for one in each)
    return scores[~ignored], right[~ignored], there
