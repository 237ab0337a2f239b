"""Reads pictures to measure with: whole, as they lie in their files, or upright. Knows no model.

As the server does it, on its own: metadata that cannot be read counts as none.
"""

import warnings
from contextlib import suppress
from pathlib import Path

from PIL import ExifTags, Image, ImageOps

from crossrun_bench.errors import BenchError

_ORIENTATION = ExifTags.Base.Orientation

warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # of damaged metadata


def loaded(file: Path) -> Image.Image:
    """The picture of a file, in the file's own mode; BenchError for what Pillow can't read."""
    if file.is_file() and not file.stat().st_size:
        raise BenchError(f"{file}: an empty file; expected a JPEG or PNG picture")
    try:
        with Image.open(file) as image:
            image.load()
            return image
    except Exception as error:  # Pillow raises of all kinds where data is damaged
        raise BenchError(f"{file}: no readable JPEG or PNG picture") from error


def upright(image: Image.Image) -> Image.Image:
    """The picture in RGB, its EXIF orientation applied."""
    exif = Image.Exif()
    with suppress(Exception):  # metadata is optional, and Pillow raises of all kinds
        found = image.getexif()[_ORIENTATION]
        exif[_ORIENTATION] = int(found) if found in range(1, 9) else 1
    rgb = image.convert("RGB")
    rgb.info = {"exif": exif.tobytes()}
    return ImageOps.exif_transpose(rgb)
