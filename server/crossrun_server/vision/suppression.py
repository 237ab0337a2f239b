"""Non-maximum suppression: of boxes that show one object, the best stays.

It keeps what ONNX's NonMaxSuppression keeps. Knows numbers only.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]
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
    left: Rows = np.argsort(-scores, kind="stable")[:CANDIDATES]
    corners = boxes.astype(np.float64)
    kept: list[int] = []
    while len(left) and (most is None or len(kept) < most):
        best, left = int(left[0]), left[1:]
        kept.append(best)
        rivals = classes[left] == classes[best]
        if looks is not None:
            rivals &= looks[left] != looks[best]
        left = left[~(rivals & (_overlaps(corners[best], corners[left]) > iou))]
    return np.array(kept, np.int64)


def _overlaps(box: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of a box [4] with others [n, 4]; 0 where there is no area."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = sides.clip(min=0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + areas - shared
    shares: NDArray[np.float64] = np.divide(
        shared, union, out=np.zeros_like(shared), where=shared > 0
    )
    return shares
