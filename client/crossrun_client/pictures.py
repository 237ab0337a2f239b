"""Pictures to ask about: files, folders, and drawn ones where there are none."""

import io
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageDraw, ImageOps

from crossrun_client.errors import ClientError

ENCODED = {".jpg", ".jpeg", ".png"}
_ORIENTATION = ExifTags.Base.Orientation
_DRAWN, _SIDE, _SHAPES = 16, 256, 6
# A Mac puts ._NAME into an archive beside each file; it is not a picture.
_ARCHIVED = "__MACOSX"

warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")  # about damaged metadata


def named(places: Sequence[Path], endings: Collection[str] = ENCODED) -> dict[Path, str]:
    """Find the files in files and folders, at any depth, sorted within each folder.

    Returns:
        Each file's name inside its folder. Names that begin with a dot are passed over.

    Raises:
        ClientError: a place is not there, or there is no such file in any.
    """
    files: dict[Path, str] = {}
    for place in places:
        inside = _inside(place)
        named_so = {f: str(f.relative_to(place)) if f != place else f.name for f in inside}
        files |= {f: name for f, name in named_so.items() if f.suffix.lower() in endings}
    if not files:
        kinds = ", ".join(sorted(endings))
        raise ClientError(f"{', '.join(map(str, places))}: no pictures ({kinds})")
    return files


def _inside(place: Path) -> list[Path]:
    if not place.exists():
        raise ClientError(f"{place}: no such file or folder")
    if not place.is_dir():
        return [place]
    below = sorted(file for file in place.rglob("*") if file.is_file())
    return [file for file in below if not _hidden(file.relative_to(place))]


def _hidden(inside: Path) -> bool:
    return any(part.startswith(".") or part == _ARCHIVED for part in inside.parts)


def read(file: Path) -> bytes:
    """Read a file.

    Raises:
        ClientError: it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise ClientError(f"{file}: cannot be read: {error.strerror}") from error


def upright(image: Image.Image) -> Image.Image:
    """Return the picture in RGB, with its EXIF orientation applied."""
    exif = Image.Exif()
    with suppress(Exception):  # metadata is optional, and Pillow raises all kinds of errors
        found = image.getexif()[_ORIENTATION]
        exif[_ORIENTATION] = int(found) if found in range(1, 9) else 1
    rgb = image.convert("RGB")
    rgb.info = {"exif": exif.tobytes()}
    return ImageOps.exif_transpose(rgb)


def drawn() -> list[bytes]:
    """Draw JPEGs of coloured shapes, always the same."""
    return [_encoded(_picture(np.random.default_rng(seed))) for seed in range(_DRAWN)]


def _picture(draw: np.random.Generator) -> Image.Image:
    slope = np.linspace(draw.uniform(0, 255, 3), draw.uniform(0, 255, 3), _SIDE)
    picture = Image.fromarray(np.broadcast_to(slope, (_SIDE, _SIDE, 3)).astype(np.uint8))
    canvas = ImageDraw.Draw(picture)
    for corners, colour in _shapes(draw):
        shape = canvas.ellipse if draw.integers(2) else canvas.rectangle
        shape(corners, fill=colour)
    return picture


def _shapes(draw: np.random.Generator) -> Iterator[tuple[tuple[float, ...], tuple[int, ...]]]:
    for _ in range(_SHAPES):
        x, y = draw.uniform(0, _SIDE * 0.8, 2)
        width, height = draw.uniform(_SIDE * 0.1, _SIDE * 0.5, 2)
        yield (x, y, x + width, y + height), tuple(map(int, draw.integers(0, 256, 3)))


def _encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
