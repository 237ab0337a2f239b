"""Writes pictures as files, with their boxes in COCO's JSON beside them."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import cv2

from crossrun_export.scenes.canvas import CLASSES, Pixels
from crossrun_export.scenes.compose import Thing, draw, draw_several

Objects = Literal["one", "several"]
BOXES = "boxes.json"


def write_folder(
    directory: Path, count: int, seed: int, size: int, objects: Objects = "one"
) -> None:
    """Write pictures 0 … count - 1 as PNG files, and DIR/boxes.json (COCO).

    Pictures of one object are DIR/CLASS/CLASS_00000.png, those of several DIR/pictures/00000.png.
    The folder appears whole or not at all. Raises FileExistsError where `directory` exists and
    is not an empty folder.
    """
    if directory.exists() and not (directory.is_dir() and not any(directory.iterdir())):
        raise FileExistsError(f"{directory} already exists; expected a new or an empty folder")
    directory.parent.mkdir(parents=True, exist_ok=True)
    drawings = (_one if objects == "one" else _several)(count, seed, size)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".pictures-") as aside:
        whole = Path(aside) / "whole"
        _write_pictures(whole, drawings)
        whole.replace(directory)


Drawing = tuple[str, Pixels, tuple[Thing, ...]]  # file name, pixels, what they show


def _one(count: int, seed: int, size: int) -> Iterator[Drawing]:
    for index in range(count):
        scene = draw(seed, index, size)
        name = CLASSES[scene.label]
        file = f"{name}/{name}_{index // len(CLASSES):05d}.png"
        yield file, scene.pixels, (Thing(scene.label, scene.box),)


def _several(count: int, seed: int, size: int) -> Iterator[Drawing]:
    for index in range(count):
        group = draw_several(seed, index, size)
        yield f"pictures/{index:05d}.png", group.pixels, group.things


def _write_pictures(directory: Path, drawings: Iterator[Drawing]) -> None:
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for index, (file, pixels, things) in enumerate(drawings):
        (directory / file).parent.mkdir(parents=True, exist_ok=True)
        _write_png(directory / file, pixels)
        height, width = pixels.shape[:2]
        images.append({"id": index, "file_name": file, "width": width, "height": height})
        first = len(annotations) + 1  # to pycocotools, 0 is no annotation
        annotations += [_annotation(first + k, index, t) for k, t in enumerate(things)]
    categories = [{"id": label, "name": name} for label, name in enumerate(CLASSES)]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (directory / BOXES).write_text(json.dumps(coco) + "\n")


def _write_png(path: Path, pixels: Pixels) -> None:
    _, png = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    path.write_bytes(png.tobytes())


def _annotation(identity: int, image: int, thing: Thing) -> dict[str, object]:
    ymin, xmin, ymax, xmax = thing.box
    width, height = xmax - xmin, ymax - ymin
    return {
        "id": identity,
        "image_id": image,
        "category_id": thing.label,
        "bbox": [xmin, ymin, width, height],
        "area": width * height,
        "iscrowd": 0,
    }
