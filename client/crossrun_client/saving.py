"""Keeps copies of pictures with the objects in them drawn on."""

import io
import os
from pathlib import Path

from PIL import Image

from crossrun_client.drawing import Mark, draw
from crossrun_client.errors import ClientError
from crossrun_client.pictures import upright
from crossrun_client.vision import Seen

QUALITY = 95  # of JPEGs


def marked(picture: Image.Image, seen: Seen) -> Image.Image:
    """Return the picture with its objects drawn, the best on top."""
    marks = [
        Mark((xmin, ymin, xmax, ymax), f"{thing.label} {thing.score:.2f}", thing.index)
        for thing in seen.detections
        for ymin, xmin, ymax, xmax in [thing.box]
    ]
    return draw(picture, marks)


def places(files: dict[Path, str], folder: Path) -> dict[Path, Path]:
    """Say where the copy of each file goes.

    Args:
        files: their names inside the folders that they are from.
        folder: for the copies.

    Raises:
        ClientError: a copy would overwrite an original, or another copy.
    """
    taken = {file.resolve(): file for file in files}
    for file, name in files.items():
        other = taken.setdefault((folder / name).resolve(), file)
        if other is not file or (folder / name).resolve() == file.resolve():
            raise ClientError(f"{file} would overwrite {other}; expected another --save")
    return {file: folder / name for file, name in files.items()}


def keep(image: bytes, seen: Seen, file: Path) -> None:
    """Write a copy of an encoded picture with its objects drawn on; whole, or not at all.

    Raises:
        ClientError: it cannot be written.
    """
    with Image.open(io.BytesIO(image)) as opened:
        drawn = marked(upright(opened), seen)
    aside = file.with_name(f".{os.getpid()}.{file.name}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        drawn.save(aside, quality=QUALITY)
        aside.replace(file)
    except OSError as error:
        raise ClientError(f"{file}: cannot be written: {error.strerror or error}") from error
    finally:
        aside.unlink(missing_ok=True)
