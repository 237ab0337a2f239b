"""Encoded pictures to pixels, as Keras does it. The only place that knows an image codec.

Decoding and resizing are Pillow's, as in keras.utils.load_img: same library, same
pixels. Two things differ on purpose: the EXIF orientation is applied, and a JPEG that is much
larger than the input is decoded at a half, a quarter or an eighth of its size.
"""

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from crossrun_server.errors import InvalidRequest

Resize = Literal["stretch", "crop"]
Pixels = NDArray[np.uint8]

CROP = 0.875  # of the shorter side: 224 of 256, the habit of ImageNet evaluation
# How much larger than the input a JPEG stays where it is decoded at a part of its size: so 12
# megapixels cost 31 ms in the place of 175, and of 32 photographs none got another first class.
ROOM = 3
MAX_PIXELS = 100_000_000  # a few kilobytes of PNG can unfold to gigabytes

Image.MAX_IMAGE_PIXELS = None  # Pillow only warns at its own limit; ours refuses
Image.preinit()  # loads the codecs now, not in the first request


def load(data: bytes, height: int, width: int, resize: Resize) -> Pixels:
    """Decode a JPEG or PNG to RGB and bring it to size.

    Returns:
        uint8 [height, width, 3].

    Raises:
        InvalidRequest: the data is no whole JPEG or PNG, or unfolds to too many pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            _check_size(image)
            image.draft(None, (ROOM * max(width, height),) * 2)
            upright = ImageOps.exif_transpose(image)
            return np.asarray(_fit(_rgb(upright), height, width, resize))
    except UnidentifiedImageError:
        raise InvalidRequest("neither JPEG nor PNG") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise InvalidRequest(f"cannot be decoded: {error}") from error


def _check_size(image: Image.Image) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise InvalidRequest(
            f"has {image.width} x {image.height} pixels, expected at most {MAX_PIXELS}"
        )


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip to 8 bits, not scale
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image if image.mode == "RGB" else image.convert("RGB")


def _fit(image: Image.Image, height: int, width: int, resize: Resize) -> Image.Image:
    box = _crop_box(image.width, image.height, width / height) if resize == "crop" else None
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def _crop_box(width: int, height: int, aspect: float) -> tuple[float, float, float, float]:
    """The middle of a picture that has `aspect` and is CROP of the largest such box."""
    cut_width = CROP * min(width, height * aspect)
    cut_height = cut_width / aspect
    left, top = (width - cut_width) / 2, (height - cut_height) / 2
    return left, top, left + cut_width, top + cut_height
