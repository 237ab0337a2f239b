"""Decodes pictures to pixels, as Keras does it. The only module that knows an image codec.

Pillow decodes and resizes, as in keras.utils.load_img: the same library, the same pixels. Three
things differ on purpose: the EXIF orientation is applied; a JPEG that is much larger than the
input is decoded at a half, a quarter or an eighth of its size; and 16-bit grey is scaled to 8
bits, while Keras cuts it off at 255, which makes everything white but black.
"""

import io
import warnings
from collections.abc import Callable
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.Image import Transpose

from crossrun_server.errors import InvalidRequest
from crossrun_server.vision import tiles, unidentified
from crossrun_server.vision.boxes import Resize, Size, View
from crossrun_server.vision.tiles import WHOLE, Fit, Tiles
from crossrun_server.vision.unidentified import PICTURES

Pixels = NDArray[np.uint8]

# How much larger than the input a JPEG stays if it is decoded at a part of its size. 12 megapixels
# then cost 31 ms instead of 175; none of 32 photographs got another first class.
ROOM = 3
MAX_PIXELS = 100_000_000  # a few kilobytes of PNG can unfold to gigabytes
MAX_SIDE = 65_535  # a JPEG's; 100 million pixels took 0.5 GB as a square PNG, 2.7 as one column
GREY = (114, 114, 114)  # around a letterboxed picture, as detectors are trained
# EXIF orientation → what sets the picture upright.
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
TURNING = (5, 6, 7, 8)  # orientations that swap height and width

Room = Callable[[Size], float]  # size of a picture, upright → pixels that a side of it keeps

Image.MAX_IMAGE_PIXELS = None  # Pillow only warns at its own limit; ours refuses
# Damaged metadata is not our fault, and a line of log for each picture helps nobody.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
Image.preinit()  # loads the codecs now, not in the first request


class Picture(NamedTuple):
    """A picture as a model takes it."""

    pixels: Pixels  # [height, width, 3] of the input
    view: View  # of the picture, upright


class Stored(NamedTuple):
    """A picture as it lies in its file."""

    image: Image.Image  # RGB
    times: float  # how much smaller it was decoded
    orientation: int  # a key of UPRIGHT, or 1
    upright: Size  # of the whole picture


def load(data: bytes, input_: Size | Fit, resize: Resize) -> Picture:
    """Decode a JPEG or PNG to RGB and bring it to size; see `looks`."""
    (picture,) = looks(data, input_, resize, WHOLE)
    return picture


def looks(data: bytes, input_: Size | Fit, resize: Resize, cut: Tiles) -> list[Picture]:
    """Decode a JPEG or PNG to RGB, and bring it and its tiles to size.

    An animated PNG is its still picture. Metadata that cannot be read is ignored.

    Args:
        data: the file.
        input_: the input's size, or a function that returns it for a picture of some size.
        resize: how the picture is brought to that size.
        cut: into which tiles.

    Returns:
        The whole picture, then the tiles; see `tiles.views`.

    Raises:
        InvalidRequest: the data is not a whole JPEG or PNG, or unfolds to too many pixels.
    """
    fit = input_ if callable(input_) else lambda _: input_
    stored = _decoded(data, lambda upright: ROOM * max(fit(upright)) * cut.closer)
    return [_fitted(stored, view) for view in tiles.views(stored.upright, fit, resize, cut)]


def pixels(data: bytes) -> int:
    """Return how many pixels a file says that it has; 0 if its header cannot be read."""
    try:
        with Image.open(io.BytesIO(data), formats=tuple(PICTURES)) as image:
            return image.width * image.height
    except Exception:  # noqa: BLE001 - as in `_decoded`, which tells what is wrong
        return 0


def _decoded(data: bytes, room: Room) -> Stored:
    try:
        with Image.open(io.BytesIO(data), formats=tuple(PICTURES)) as image:
            _check_size(image)
            return _stored(image, room)
    except UnidentifiedImageError:
        raise InvalidRequest(_unidentified(data)) from None
    except (InvalidRequest, MemoryError):
        raise
    except Exception as error:  # Pillow raises errors of all kinds if data is damaged
        raise InvalidRequest(f"cannot be decoded: {error or type(error).__name__}") from error


def _unidentified(data: bytes) -> str:
    for name, signature in PICTURES.items():
        if data.startswith(signature):
            return f"cannot be decoded: it begins as a {name}, but its header is damaged"
    looks_like = unidentified.told(data)
    return f"neither JPEG nor PNG: {looks_like}" if looks_like else "neither JPEG nor PNG"


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise InvalidRequest(
            f"has {image.width} x {image.height} pixels, expected at most {MAX_PIXELS}"
        )
    if max(image.size) > MAX_SIDE:
        raise InvalidRequest(
            f"has {image.width} x {image.height} pixels, expected sides of at most {MAX_SIDE}"
        )


def _stored(image: Image.Image, room: Room) -> Stored:
    size = Size(image.height, image.width)
    if image.format == "PNG":  # its metadata may follow its pixels
        image.load()
    orientation = _orientation(image)
    upright = Size(size.width, size.height) if orientation in TURNING else size
    drafted = image.draft(None, (ceil(room(upright)),) * 2)
    image.load()
    times = size.width / drafted[1][2] if drafted else 1
    return Stored(_rgb(image), times, orientation, upright)


def _orientation(image: Image.Image) -> int:
    """How a picture lies in its file; upright if its metadata says nothing or nonsense."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
        return int(found) if found in UPRIGHT else 1
    except Exception:  # noqa: BLE001 - metadata is optional, and Pillow raises errors of all kinds
        return 1


def _fitted(stored: Stored, view: View) -> Picture:
    """Bring a picture to size as it lies in its file, then set it upright."""
    turning = stored.orientation in TURNING
    top, left, bottom, right = (side / stored.times for side in view.source)
    box = (top, left, bottom, right) if turning else (left, top, right, bottom)
    size = view.target_size if turning else view.target_size[::-1]
    small = stored.image.resize(size, Image.Resampling.BILINEAR, box)
    method = UPRIGHT.get(stored.orientation)
    upright = small if method is None else small.transpose(method)
    return Picture(np.asarray(_placed(upright, view)), view)


def _placed(image: Image.Image, view: View) -> Image.Image:
    """Put a picture of the right size into the model's input; grey is around it."""
    size = view.input.width, view.input.height
    if image.size == size:
        return image
    top, left, *_ = view.target
    whole = Image.new("RGB", size, GREY)
    whole.paste(image, (int(left), int(top)))
    return whole


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip to 8 bits, not scale
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")
