"""Encoded pictures to pixels, as Keras does it. The only place that knows an image codec.

Decoding and resizing are Pillow's, as in keras.utils.load_img: same library, same
pixels. Two things differ on purpose: the EXIF orientation is applied, and a JPEG that is much
larger than the input is decoded at a half, a quarter or an eighth of its size.
"""

import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.Image import Transpose

from crossrun_server import boxes
from crossrun_server.boxes import Resize, Size, View
from crossrun_server.errors import InvalidRequest

Pixels = NDArray[np.uint8]

# How much larger than the input a JPEG stays where it is decoded at a part of its size: so 12
# megapixels cost 31 ms in the place of 175, and of 32 photographs none got another first class.
ROOM = 3
MAX_PIXELS = 100_000_000  # a few kilobytes of PNG can unfold to gigabytes
GREY = (114, 114, 114)  # around a letterboxed picture, as detectors are trained
# What sets a picture upright, by its EXIF orientation.
UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
TURNING = (5, 6, 7, 8)  # where height and width change places

Image.MAX_IMAGE_PIXELS = None  # Pillow only warns at its own limit; ours refuses
Image.preinit()  # loads the codecs now, not in the first request


class Picture(NamedTuple):
    """A picture as a model takes it."""

    pixels: Pixels  # [height, width, 3] of the input
    view: View  # of the picture, upright


def load(data: bytes, input_: Size, resize: Resize) -> Picture:
    """Decode a JPEG or PNG to RGB and bring it to size; of an animated PNG the still picture.

    Raises:
        InvalidRequest: the data is no whole JPEG or PNG, or unfolds to too many pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            _check_size(image)
            return _fit(image, input_, resize)
    except UnidentifiedImageError:
        raise InvalidRequest("neither JPEG nor PNG") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidRequest(f"cannot be decoded: {error}") from error


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise InvalidRequest(
            f"has {image.width} x {image.height} pixels, expected at most {MAX_PIXELS}"
        )


def _fit(image: Image.Image, input_: Size, resize: Resize) -> Picture:
    """Bring a picture to size as it lies in its file, then set it upright."""
    stored = image.size
    image.draft(None, (ROOM * max(input_),) * 2)
    times = round(stored[0] / image.width)  # that it is decoded smaller
    orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    turning = orientation in TURNING
    view = boxes.view(Size(*stored) if turning else Size(*stored[::-1]), input_, resize)
    top, left, bottom, right = (side / times for side in view.seen)
    box = (top, left, bottom, right) if turning else (left, top, right, bottom)
    size = view.placed if turning else view.placed[::-1]
    small = _rgb(image).resize(size, Image.Resampling.BILINEAR, box)
    upright = small.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else small
    return Picture(np.asarray(_placed(upright, view)), view)


def _placed(image: Image.Image, view: View) -> Image.Image:
    """Put a picture of the right size into the model's input; grey is around it."""
    size = view.input.width, view.input.height
    if image.size == size:
        return image
    top, left, *_ = view.place
    whole = Image.new("RGB", size, GREY)
    whole.paste(image, (int(left), int(top)))
    return whole


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip to 8 bits, not scale
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")
