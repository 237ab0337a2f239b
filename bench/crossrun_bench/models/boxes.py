"""What boxes have in common. A box is ymin, xmin, ymax, xmax."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

OVERLAP = 0.5  # intersection over union from which on two boxes may show the same object


def overlaps(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """The intersection over union of boxes [..., 4] with others [..., 4], [...]."""
    low = np.maximum(one[..., :2], other[..., :2])
    high = np.minimum(one[..., 2:4], other[..., 2:4])
    common = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(boxes[..., 2:4] - boxes[..., :2], axis=-1) for boxes in (one, other)]
    union = np.maximum(areas[0] + areas[1] - common, np.finfo(np.float64).tiny)
    share: NDArray[np.float64] = common / union
    return share
