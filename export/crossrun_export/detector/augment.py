"""Other views of a picture and its boxes: mirrored, larger, smaller, cut, in other colours."""

import cv2
import numpy as np

from crossrun_export.detector.data import GREY, Example, Objects, Pixels

SCALES = 0.75, 1.3
SEEN = 0.4  # of a box's area; with less than that inside, its object is taken for gone


def augmented(example: Example, rng: np.random.Generator) -> Example:
    """One view by chance; half of them keep scale and place."""
    if rng.random() < 0.5:
        example = _mirrored(example)
    if rng.random() < 0.5:
        example = _moved(example, rng)
    return Example(_coloured(example.pixels, rng), example.objects)


def _mirrored(example: Example) -> Example:
    ymin, xmin, ymax, xmax = example.objects.boxes.T
    boxes = np.stack([ymin, 1 - xmax, ymax, 1 - xmin], axis=1)
    return Example(example.pixels[:, ::-1], Objects(boxes, example.objects.labels))


def _moved(example: Example, rng: np.random.Generator) -> Example:
    """Scaled, and put anywhere: a smaller picture inside the frame, of a larger one a part."""
    size, scale = len(example.pixels), rng.uniform(*SCALES)
    offset = rng.uniform(0, 1, 2) * (1 - scale)  # of (y, x), in shares of the frame
    # OpenCV's coordinates name pixel centres; ours name the picture's surface.
    y, x = offset * size + (scale - 1) / 2
    pixels = cv2.warpAffine(
        np.ascontiguousarray(example.pixels),
        np.array([[scale, 0, x], [0, scale, y]]),
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderValue=(GREY, GREY, GREY),
    )
    moved = (example.objects.boxes * scale + np.tile(offset, 2)).astype(np.float32)
    return Example(pixels.astype(np.uint8), _cut(Objects(moved, example.objects.labels)))


def _cut(objects: Objects) -> Objects:
    """Cut boxes at the edges, and leave out those that have too little left."""
    cut = objects.boxes.clip(0, 1)
    whole, left = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (objects.boxes, cut))
    seen = left >= SEEN * whole
    return Objects(cut[seen], objects.labels[seen])


def _coloured(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Contrast and brightness, a little different for each channel: by a table of 256 values."""
    gain, shift = rng.uniform(0.8, 1.2, 3), rng.uniform(-20, 20, 3)
    values = (np.arange(256)[:, None] - 127.5) * gain + 127.5 + shift
    table = values.round().clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(np.ascontiguousarray(pixels), table[None]), np.uint8)
