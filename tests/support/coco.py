"""A data set in COCO's form."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}

BOX = (0.0, 0.0, 100.0, 100.0)
OTHER = (200.0, 200.0, 300.0, 300.0)


def data_set(folder: Path, changes: dict[str, Any] | None = None) -> Path:
    """Six pictures of other sizes than the finder's input, each of three rectangles."""
    (folder / "pictures").mkdir(parents=True)
    images, annotations = [], []
    for i, (width, height) in enumerate([(128, 96), (128, 64), (96, 96)] * 2):
        pixels = np.full((height, width, 3), 90, np.uint8)
        for j, colour in enumerate(COLOURS.values()):
            x, y, w, h = 4 + 32 * j, 8 + 8 * j, 16 + 4 * i, 20
            pixels[y : y + h, x : x + w] = colour
            box = [x, y, w, h]
            annotations.append({"id": 0, "image_id": i, "category_id": 10 + j, "bbox": box})
        Image.fromarray(pixels).save(folder / "pictures" / f"{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": width, "height": height})
    categories = [{"id": 10 + j, "name": name.upper()} for j, name in enumerate(COLOURS)]
    categories.append({"id": 1, "name": "never seen"})
    whole = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "boxes.json").write_text(json.dumps(whole | (changes or {})))
    return folder
