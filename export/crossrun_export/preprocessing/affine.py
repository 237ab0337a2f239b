"""Pictures of one colour each, and the straight line from a colour to what a layer gets of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossrun_export.graph import Array

Floats = NDArray[np.float64]

# Colours enough to tell a straight line from any other, channel by channel.
COLOURS = np.array(
    [
        *[(0, 0, 0), (255, 255, 255), (128, 128, 128), (255, 0, 0), (0, 255, 0), (0, 0, 255)],
        *[(30, 120, 210), (210, 30, 120), (120, 210, 30), (5, 60, 250)],
    ],
    np.uint8,
)
SAME = 4e-3  # of the span: half precision has ten bits


@dataclass(frozen=True)
class Affine:
    """What a layer gets of a pixel: pixel * scale + offset, for each of its channels RGB."""

    scale: Floats
    offset: Floats
    order: tuple[int, ...]  # in which the channels come to the layer

    @property
    def ends(self) -> Floats:
        """What becomes of 0 and of 255, [2, 3]."""
        return np.stack([self.offset, self.offset + 255 * self.scale])

    def equals(self, other: "Affine", share: float = SAME) -> bool:
        """Whether both make the same of pixels, but for so large a share of the span."""
        near = np.abs(self.ends - other.ends).max(axis=0) <= share * np.abs(255 * self.scale)
        return bool(near.all()) and self.order == other.order


def pictures(height: int, width: int) -> NDArray[np.uint8]:
    """A picture of each of COLOURS, [count, height, width, 3]."""
    return np.broadcast_to(COLOURS[:, None, None], (len(COLOURS), height, width, 3))


def fit(values: Array) -> Affine | None:
    """Find the line from COLOURS to values [count, ...].

    Returns:
        None if there is none, if several places of a picture have different ones, or if channels
        are mixed in several ways. Places that are the same in all pictures, as padding is, do not
        count. A grey picture made of three channels counts as three like channels.
    """
    flat = values.reshape(len(COLOURS), -1).astype(np.float64)
    flat = flat[:, np.ptp(flat, axis=0) > 0]
    if not flat.size or not np.isfinite(flat).all():
        return None
    basis = np.column_stack([COLOURS / 255.0, np.ones(len(COLOURS))])
    lines, *_ = np.linalg.lstsq(basis, flat)
    if (np.abs(basis @ lines - flat).max(axis=0) > SAME * np.ptp(flat, axis=0)).any():
        return None
    slopes, offsets = lines[:3].T.astype(np.float64), lines[3].astype(np.float64)
    return _by_channel(slopes, offsets) or _grey(slopes, offsets)


def _by_channel(slopes: Floats, offsets: Floats) -> Affine | None:
    """Each value comes from one channel."""
    sizes = np.abs(slopes)
    channels = sizes.argmax(axis=1)
    alone = sizes.max(axis=1) >= (1 - SAME) * sizes.sum(axis=1)
    order = tuple(dict.fromkeys(channels.tolist()))
    if not alone.all() or len(order) != 3:
        return None
    own = slopes[np.arange(len(slopes)), channels]
    groups = [(own[channels == c], offsets[channels == c]) for c in range(3)]
    if not all(_like(scales) and _near(shifts, scales) for scales, shifts in groups):
        return None
    scale = np.array([scales.mean() for scales, _ in groups]) / 255
    return Affine(scale, np.array([shifts.mean() for _, shifts in groups]), order)


def _grey(slopes: Floats, offsets: Floats) -> Affine | None:
    """All values come from one mixture of the channels."""
    total = slopes.sum(axis=1)
    is_one = np.abs(slopes - slopes.mean(axis=0)).max() <= SAME * np.abs(total).max()
    if not (is_one and _like(total) and _near(offsets, total) and (slopes.mean(axis=0) >= 0).all()):
        return None
    return Affine(np.full(3, total.mean() / 255), np.full(3, offsets.mean()), (0, 1, 2))


def _like(scales: Floats) -> bool:
    return bool(np.ptp(scales) <= SAME * np.abs(scales).max())


def _near(offsets: Floats, scales: Floats) -> bool:
    return bool(np.ptp(offsets) <= SAME * np.abs(scales).max())
