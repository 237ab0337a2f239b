"""Reads the boxes of a data set in COCO's JSON: https://cocodataset.org/#format-data."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_export.errors import ExportError
from crossrun_export.scenes import BOXES


@dataclass(frozen=True)
class Picture:
    """A picture's file, and what it shows."""

    file: Path
    boxes: NDArray[np.float32]  # [objects, 4], ymin xmin ymax xmax in shares of the picture
    labels: NDArray[np.int64]  # [objects], positions among the classes


@dataclass(frozen=True)
class Coco:
    """A data set."""

    classes: tuple[str, ...]  # in the order of their ids
    pictures: tuple[Picture, ...]


def read(data: Path, folder: Path | None) -> Coco:
    """Read a data set: boxes of crowds are left out, a single object is what can be found.

    Args:
        data: the JSON file, or a folder that has it as boxes.json.
        folder: where the pictures are; None is the folder of the JSON file.

    Raises:
        ExportError: it cannot be read, is not in COCO's form, or lacks a picture.
    """
    file = data / BOXES if data.is_dir() else data
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExportError(f"{file} cannot be read as COCO's JSON: {error}") from error
    try:
        return _parsed(content, folder or file.parent)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ExportError(f"{file} is not in COCO's form: {what}") from error


def _parsed(content: dict[str, Any], folder: Path) -> Coco:
    categories = sorted(content["categories"], key=lambda category: category["id"])
    places = {category["id"]: place for place, category in enumerate(categories)}
    images = {image["id"]: image for image in content["images"]}
    if not (places and images):
        raise ValueError("it has no images or no categories")
    found: dict[Any, list[tuple[list[float], int]]] = defaultdict(list)
    for note in content["annotations"]:
        if note["image_id"] not in images or note["category_id"] not in places:
            raise ValueError(f"annotation {note['id']} is of no known image and category")
        if not note.get("iscrowd"):
            box = _box(note, images[note["image_id"]])
            found[note["image_id"]].append((box, places[note["category_id"]]))
    pictures = tuple(_picture(image, found[key], folder) for key, image in images.items())
    return Coco(tuple(category["name"] for category in categories), pictures)


def _box(note: dict[str, Any], image: dict[str, Any]) -> list[float]:
    """[x, y, width, height] in pixels to ymin xmin ymax xmax in shares, cut at the edges."""
    x, y, width, height = map(float, note["bbox"])
    corners = np.array([y, x, y + height, x + width])
    if not (np.isfinite(corners).all() and width >= 0 and height >= 0):
        raise ValueError(f"annotation {note['id']} has the box {note['bbox']}")
    shares = corners / np.tile([image["height"], image["width"]], 2)
    return [float(share) for share in shares.clip(0, 1)]


def _picture(image: dict[str, Any], found: list[tuple[list[float], int]], folder: Path) -> Picture:
    file = folder / image["file_name"]
    if not file.is_file():
        raise ExportError(f"{file} is missing, which the data set names")
    boxes = np.array([box for box, _ in found], np.float32).reshape(-1, 4)
    labels = np.array([label for _, label in found], np.int64)
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return Picture(file, boxes[has_area], labels[has_area])
