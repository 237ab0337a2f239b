"""Non-maximum suppression: of boxes that show one object, the best stays.

It keeps what ONNX's NonMaxSuppression keeps. Knows numbers only.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
Floats = NDArray[np.float64]
# With thousands of boxes of each class, and no least score, nothing else would bound the work.
CANDIDATES = 30_000


def suppress(  # noqa: PLR0913, PLR0917 - what is suppressed, and by what
    boxes: NDArray[Any],
    scores: NDArray[Any],
    classes: NDArray[Any],
    iou: float,
    most: int | None = None,
    looks: NDArray[Any] | None = None,
) -> Rows:
    """Choose the detections that stay.

    Args:
        boxes: [n, 4], two opposite corners; in any unit, and with either axis first.
        scores: [n].
        classes: [n]; boxes of different classes leave each other alone.
        iou: of two boxes of a class that overlap by more than this (intersection over union) the
            better stays; the first, if their scores are equal. Boxes without area overlap nothing.
        most: how many may stay; None for all.
        looks: [n], in which look at a picture each was found, if boxes of one look leave each other
            alone, too.

    Returns:
        Rows of the arguments, best first. Past the CANDIDATES best nothing is looked at.
    """
    order: Rows = np.argsort(-scores, kind="stable")[:CANDIDATES]
    corners, kinds = boxes[order].astype(np.float64), classes[order]
    seen_in = None if looks is None else looks[order]
    left, kept = np.ones(len(order), bool), list[int]()
    for place in range(len(order)):
        if not left[place]:
            continue
        kept.append(place)
        if len(kept) == most:
            break
        rivals = place + 1 + np.flatnonzero(kinds[place + 1 :] == kinds[place])
        rivals = rivals[left[rivals]]
        if seen_in is not None:
            rivals = rivals[seen_in[rivals] != seen_in[place]]
        left[rivals[_overlaps(corners[place], corners[rivals]) > iou]] = False
    return order[kept]


def _overlaps(box: Floats, others: Floats) -> Floats:
    """Intersection over union of a box [4] with others [n, 4]; 0 where there is no area."""
    (top, left, bottom, right), (tops, lefts, bottoms, rights) = box, others.T
    height = np.minimum(bottom, bottoms) - np.maximum(top, tops)
    width = np.minimum(right, rights) - np.maximum(left, lefts)
    shared = height.clip(min=0) * width.clip(min=0)
    union = (bottom - top) * (right - left) + (bottoms - tops) * (rights - lefts) - shared
    shares: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0)
    return shares
