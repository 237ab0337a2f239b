"""Pictures with boxes to train and measure a detector on: a COCO data set, or drawn ones.

Pictures come at the size of the network, letterboxed. Knows no network.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from crossrun_export import scenes
from crossrun_export.detector import coco
from crossrun_export.detector.settings import BUNDLED, Data, Training
from crossrun_export.errors import ExportError
from crossrun_export.options import AnyResize
from crossrun_export.pictures import middle
from crossrun_export.train import HELD_OUT_SEED

Pixels = NDArray[np.uint8]
GREY = 114  # around letterboxed pictures, as YOLO's implementations have it
HELD_OUT_SHARE = 10  # one picture in so many is measured on, where no other data set is


class Objects(NamedTuple):
    """What a picture shows."""

    boxes: NDArray[np.float32]  # [objects, 4], ymin xmin ymax xmax in shares of the picture
    labels: NDArray[np.int64]  # [objects], positions among the classes


class Example(NamedTuple):
    """A picture at the size of the network, uint8 RGB [size, size, 3], and what it shows."""

    pixels: Pixels
    objects: Objects


class Examples(Sequence[Example]):
    """Pictures that are made, or read, when they are looked at."""

    def __init__(self, make: Callable[[int], Example], places: Sequence[int]) -> None:
        self._make, self._places = make, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, place: int) -> Example:  # type: ignore[override]  # no slices
        return self._make(self._places[place])


@dataclass(frozen=True)
class DataSet:
    """Pictures to train on and others to measure on."""

    classes: tuple[str, ...]
    training: Sequence[Example]
    held_out: Sequence[Example]


def load(data: Data, training: Training) -> DataSet:
    """Draw or read what is asked for.

    Raises:
        ExportError: it cannot be had, or options do not go together.
    """
    if data.source == BUNDLED:
        if data.folder or data.held_out:
            raise ExportError("--pictures and --held-out are for --data of your own")
        return drawn(training.size, training.seed, data.drawn, data.drawn_held_out)
    return read(training.size, Path(data.source), data.folder, data.held_out)


def drawn(size: int, seed: int, count: int, held_out: int) -> DataSet:
    """Draw `count` pictures of several objects, and `held_out` of a series no training sees.

    Raises:
        ExportError: `seed` is that series' own.
    """
    if seed == HELD_OUT_SEED:
        raise ExportError(f"seed {seed} is the held-out series; expected any other seed")
    return DataSet(
        scenes.CLASSES, several(size, seed, count), several(size, HELD_OUT_SEED, held_out)
    )


def several(size: int, seed: int, count: int) -> list[Example]:
    """Draw pictures of several objects."""
    return [drawing(group) for group in scenes.series(scenes.draw_several, seed, count, size)]


def read(size: int, data: Path, pictures: Path | None, held_out: Path | None) -> DataSet:
    """Read a COCO data set.

    Args:
        size: of the network's input, pixels.
        data: its JSON file, or a folder that has it as boxes.json.
        pictures: the folder that its file names count from; None is the JSON file's own.
        held_out: another such data set to measure on, as `data`; None takes one picture in ten.

    Raises:
        ExportError: it cannot be read, or is not in COCO's form.
    """
    own = coco.read(data, pictures)
    if held_out is None:
        if len(own.pictures) < HELD_OUT_SHARE:
            raise ExportError(f"{data} has {len(own.pictures)} pictures; expected 10 or more")
        every = range(len(own.pictures))
        training = [place for place in every if (place + 1) % HELD_OUT_SHARE]
        return DataSet(
            own.classes,
            fitted(own, (size, size), training),
            fitted(own, (size, size), every[HELD_OUT_SHARE - 1 :: HELD_OUT_SHARE]),
        )
    other = coco.read(held_out, None)
    if other.classes != own.classes:
        raise ExportError(f"{held_out} has other categories than {data}")
    both = (fitted(one, (size, size), range(len(one.pictures))) for one in (own, other))
    return DataSet(own.classes, *both)


def fit(
    image: Image.Image, size: tuple[int, int], resize: AnyResize
) -> tuple[Pixels, NDArray[np.float32]]:
    """Bring a picture to a size: stretched, cropped, or letterboxed with grey around it.

    Args:
        image: the picture.
        size: height and width.
        resize: which of these, as the server does it.

    Returns:
        uint8 RGB [height, width, 3], and what (y, x) in shares of the picture become in shares of
        `size`: scale and offset, float32 [2, 2].
    """
    box = middle(image, size) if resize == "crop" else None
    height, width = _inner(image, size) if resize == "letterbox" else size
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    pixels = np.full((*size, 3), GREY, np.uint8)
    fitted = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR, box=box)
    pixels[top : top + height, left : left + width] = np.asarray(fitted)
    if box:
        x, y, right, bottom = box
        cut = [(image.height, image.width), (-y, -x)]
        return pixels, np.divide(cut, (bottom - y, right - x)).astype(np.float32)
    placed = [(height, width), (top, left)]
    return pixels, np.divide(placed, size).astype(np.float32)


def _inner(image: Image.Image, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the whole picture, with its own aspect, inside a size."""
    scale = min(size[0] / image.height, size[1] / image.width)
    return max(1, round(image.height * scale)), max(1, round(image.width * scale))


def drawing(group: scenes.Group) -> Example:
    """A drawn picture, at the size it was drawn."""
    size = len(group.pixels)
    boxes = np.array([thing.box for thing in group.things], np.float32) / np.float32(size)
    return Example(group.pixels, Objects(boxes, np.array([t.label for t in group.things])))


def fitted(
    data: coco.Coco,
    size: tuple[int, int],
    places: Sequence[int],
    resize: AnyResize = "letterbox",
) -> Examples:
    """Pictures of a data set at the size of the network, read when they are looked at."""

    def make(place: int) -> Example:
        picture = data.pictures[place]
        try:
            with Image.open(picture.file) as image:
                pixels, (scale, offset) = fit(image, size, resize)
        except Exception as error:  # Pillow raises of all kinds where data is damaged
            raise ExportError(f"{picture.file} cannot be read: {error}") from error
        boxes = (picture.boxes * np.tile(scale, 2) + np.tile(offset, 2)).clip(0, 1)
        seen = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)  # of a cropped picture, not all
        return Example(pixels, Objects(boxes[seen], picture.labels[seen]))

    return Examples(make, places)
