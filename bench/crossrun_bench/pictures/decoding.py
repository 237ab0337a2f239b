"""Reads pictures: whole, as they are in their files, or upright. Knows no model.

It does what the server does, with code of its own: metadata that cannot be read is ignored.
"""

import warnings
from contextlib import suppress
from pathlib import Path

from PIL import ExifTags, Image, ImageOps

from crossrun_bench.errors import BenchError

_ORIENTATION = ExifTags.Base.Orientation

warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # about damaged metadata


def loaded(file: Path) -> Image.Image:
    """The picture in a file, in the file's own mode.

    Raises:
        BenchError: Pillow cannot read it.
    """
    if file.is_file() and not file.stat().st_size:
        raise BenchError(f"{file}: an empty file; expected a JPEG or PNG picture")
    try:
        with Image.open(file) as image:
            image.load()
            return image
    except Exception as error:  # damaged data makes Pillow raise all kinds of errors
        raise BenchError(f"{file}: not a readable JPEG or PNG picture") from error


def upright(image: Image.Image) -> Image.Image:
    """The picture in RGB, with its EXIF orientation applied."""
    exif = Image.Exif()
    with suppress(Exception):  # metadata is optional, and Pillow raises all kinds of errors
        found = image.getexif()[_ORIENTATION]
        exif[_ORIENTATION] = int(found) if found in range(1, 9) else 1
    rgb = image.convert("RGB")
    rgb.info = {"exif": exif.tobytes()}
    return ImageOps.exif_transpose(rgb)
