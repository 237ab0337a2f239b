"""Resizes pictures to a detector's input, and brings boxes back to the picture.

It follows `Resize` of crossrun.v1, with code of its own: the server's is checked by it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crossrun_bench.models.model import Model
from crossrun_bench.pictures.decoding import upright

_GREY = (114, 114, 114)
_CROP = 0.875  # of the largest box with the input's aspect, as the server has it


@dataclass(frozen=True)
class Place:
    """Where a picture lies in the input, in pixels of the input; cropped, it stands out of it."""

    left: float
    top: float
    width: float
    height: float


def place(size: tuple[int, int], model: Model) -> Place:
    """Where a picture of `size`, width and height, goes."""
    assert model.detector
    scales = model.width / size[0], model.height / size[1]
    if model.detector.resize == "stretch":
        return Place(0, 0, model.width, model.height)
    if model.detector.resize == "crop":
        width, height = (side * max(scales) / _CROP for side in size)
        return Place((model.width - width) / 2, (model.height - height) / 2, width, height)
    whole = [max(1, round(side * min(scales))) for side in size]
    return Place((model.width - whole[0]) // 2, (model.height - whole[1]) // 2, *whole)


def fitted(image: Image.Image, model: Model) -> Image.Image:
    """The picture as the model's input: upright, RGB."""
    whole = upright(image)
    into = place(whole.size, model)
    if into.left < 0 or into.top < 0:
        return _middle(whole, into, model)
    size = int(into.width), int(into.height)
    boxed = Image.new("RGB", (model.width, model.height), _GREY)
    boxed.paste(whole.resize(size, Image.Resampling.BILINEAR), (int(into.left), int(into.top)))
    return boxed


def _middle(whole: Image.Image, into: Place, model: Model) -> Image.Image:
    """What of a cropped picture is in the input."""
    scale = whole.width / into.width
    left, top = -into.left * scale, -into.top * scale
    box = left, top, left + model.width * scale, top + model.height * scale
    return whole.resize((model.width, model.height), Image.Resampling.BILINEAR, box=box)


def in_picture(
    boxes: NDArray[np.float32], size: tuple[int, int], model: Model
) -> NDArray[np.float64]:
    """Boxes [objects, 4] in shares of the input, as pixels of a picture of `size`, inside it."""
    into = place(size, model)
    offset = np.tile([into.top, into.left], 2)
    scale = np.tile([size[1] / into.height, size[0] / into.width], 2)
    edges = boxes.astype(np.float64) * np.tile([model.height, model.width], 2)
    found: NDArray[np.float64] = ((edges - offset) * scale).clip(0, np.tile(size[::-1], 2))
    return found
