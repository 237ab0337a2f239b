"""What each cell of the network should say of a picture: which object's box and class, or none."""

import numpy as np
from numpy.typing import NDArray

from crossrun_export.detector import network
from crossrun_export.detector.data import Objects

# The longest side, in pixels of the input, of the boxes that each level but the last is for.
LONGEST = {8: 48.0, 16: 96.0}
# Cells so near to a box's middle answer for it, in strides of their level (FCOS's centre sampling).
NEAR = 1.5


class Targets:
    """Assigns objects to the cells of an input of `size` pixels."""

    def __init__(self, size: int, classes: int) -> None:
        self._size, self._classes = size, classes
        self._middles, self._strides = network.cells(size)
        limits = [0.0, *LONGEST.values(), np.inf]
        level = np.searchsorted(list(network.LEVELS), self._strides)
        self._least, self._most = np.take(limits, level), np.take(limits, level + 1)

    def __call__(self, objects: Objects) -> NDArray[np.float32]:
        """Float32 [cells, 4 + classes]: the box of the cell's object and 1 at its class, or zeros.

        A cell that could answer for several objects answers for the smallest.
        """
        truth = np.zeros((len(self._middles), 4 + self._classes), np.float32)
        sides = objects.boxes[:, 2:] - objects.boxes[:, :2]
        for chosen in np.argsort(-sides.prod(axis=1), kind="stable"):
            mine = self._answering(objects.boxes[chosen] * self._size)
            truth[mine] = 0
            truth[mine, :4] = objects.boxes[chosen]
            truth[mine, 4 + objects.labels[chosen]] = 1
        return truth

    def _answering(self, box: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which cells answer for a box in pixels, [cells]."""
        longest = (box[2:] - box[:2]).max()
        away = np.abs(self._middles - (box[:2] + box[2:]) / 2).max(axis=1)
        inside = np.all((self._middles > box[:2]) & (self._middles < box[2:]), axis=1)
        fits = (self._least <= longest) & (longest < self._most)
        answering: NDArray[np.bool_] = fits & inside & (away < NEAR * self._strides)
        return answering
