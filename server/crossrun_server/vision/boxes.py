"""Lays a picture into a model's input, and brings boxes back from there.

A box is ymin, xmin, ymax, xmax; (0, 0) is the upper left corner of the upper left pixel.
Knows numbers only: no pictures, no models.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

Resize = Literal["stretch", "crop", "letterbox"]
RESIZES: tuple[Resize, ...] = get_args(Resize)
Box = tuple[float, float, float, float]
Boxes = NDArray[np.float64]  # [n, 4]

CROP = 0.875  # of the shorter side: 224 of 256, as ImageNet is usually evaluated


class Size(NamedTuple):
    """The size of a picture or an input, in pixels."""

    height: int
    width: int


@dataclass(frozen=True)
class View:
    """Which part of a picture a model sees, and where in its input; in pixels of each."""

    picture: Size
    input: Size
    source: Box  # in the picture
    target: Box  # in the input

    @property
    def target_size(self) -> Size:
        """How large the picture is in the input, in pixels."""
        top, left, bottom, right = self.target
        return Size(int(bottom - top), int(right - left))

    @property
    def pixel(self) -> NDArray[np.float64]:
        """How many pixels of the picture a pixel of the input is high and wide, [2]."""
        source, target = (np.array(box).reshape(2, 2) for box in (self.source, self.target))
        size: NDArray[np.float64] = np.diff(source, axis=0)[0] / np.diff(target, axis=0)[0]
        return size

    def to_picture(self, boxes: NDArray[Any]) -> Boxes:
        """Bring boxes from the input to the picture, and cut them off at its edges.

        Args:
            boxes: [n, 4], where 1 is the input's height or width.

        Returns:
            [n, 4], pixels; a box beside the picture has no area.
        """
        corners = boxes.astype(np.float64).reshape(-1, 2, 2) * self.input
        moved = (corners - self.target[:2]) * self.pixel + self.source[:2]
        inside: Boxes = np.clip(moved, 0, self.picture).reshape(-1, 4)
        return inside


def view(picture: Size, input_: Size, resize: Resize) -> View:
    """Lay a picture into a model's input.

    Args:
        picture: its size, upright.
        input_: the model's.
        resize: "stretch" it to the input's size, "crop" its middle with the input's aspect, or
            "letterbox": put all of it, with its own aspect, into the middle of the input.
    """
    source, target = _whole(picture), _whole(input_)
    if resize == "crop":
        source = _middle(picture, input_)
    elif resize == "letterbox":
        target = _letterbox(picture, input_)
    return View(picture, input_, source, target)


def settled(input_: Size, picture: Size, longest: int) -> Size:
    """Return the size of an input for a picture; its height, width or both may be free (-1).

    Args:
        input_: the model's; a side that is fixed stays.
        picture: its size, upright. If both sides are free, it goes in as it is; if one is free,
            it keeps its proportions.
        longest: the most pixels of a free side.
    """
    scales = [fixed / own for fixed, own in zip(input_, picture, strict=True) if fixed > 0]
    scale = min(scales, default=min(1, longest / max(picture)))
    own = (min(longest, max(1, round(side * scale))) for side in picture)
    return Size(*(side if side > 0 else free for side, free in zip(input_, own, strict=True)))


def normalised(boxes: NDArray[Any], order: str, unit: str, input_: Size) -> Boxes:
    """Bring a model's boxes [n, 4] into the order of this module, 1 being the input's size.

    Args:
        boxes: as the model returns them.
        order: "yxyx", "xyxy", or "cxcywh", the centre and the size.
        unit: "normalised" or "pixels" of the input.
        input_: its size.
    """
    found = boxes.astype(np.float64)
    if order == "xyxy":
        found = found[:, [1, 0, 3, 2]]
    elif order == "cxcywh":
        centre, reach = found[:, [1, 0]], found[:, [3, 2]] / 2
        found = np.concatenate([centre - reach, centre + reach], axis=1)
    return found / (input_ * 2) if unit == "pixels" else found


def _whole(size: Size) -> Box:
    return 0, 0, *size


def _middle(picture: Size, input_: Size) -> Box:
    """The middle of a picture: CROP of the largest box with the input's aspect."""
    aspect = input_.width / input_.height
    width = CROP * min(picture.width, picture.height * aspect)
    height = width / aspect
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    return top, left, top + height, left + width


def _letterbox(picture: Size, input_: Size) -> Box:
    scale = min(input_.height / picture.height, input_.width / picture.width)
    height, width = (max(1, round(side * scale)) for side in picture)
    top, left = (input_.height - height) // 2, (input_.width - width) // 2
    return top, left, top + height, left + width
