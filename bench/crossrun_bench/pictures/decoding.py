"""Reads pictures as they are in their files. Knows no model."""

from pathlib import Path

from PIL import Image

from crossrun_bench.errors import BenchError


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
