"""Detections of a network before they are in a graph, and how good any detections are.

Non-maximum suppression is TensorFlow's here: the graph's detections are compared with it.
"""

import contextlib
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from crossrun_export.backend import keras
from crossrun_export.backend import tensorflow as tf
from crossrun_export.detector.data import Example, Objects, Pixels
from crossrun_export.detector.settings import Thresholds

Floats = NDArray[np.float32]

BATCH = 32


class Detections(NamedTuple):
    """What was found in some pictures; past `found` all is zero."""

    boxes: Floats  # [pictures, most, 4], ymin xmin ymax xmax in shares
    scores: Floats  # [pictures, most], best first
    classes: NDArray[np.int64]  # [pictures, most]
    found: NDArray[np.int64]  # [pictures], how many


# All boxes that can count: mean average precision asks for the whole curve.
ALL = Thresholds(score=0.01, iou=0.5, most=100)


@dataclass(frozen=True)
class AveragePrecision:
    """Mean average precision as COCO defines it, shares of 1."""

    mean: float  # over IoU thresholds 0.5, 0.55 … 0.95
    at_half: float  # at IoU 0.5


def raw(network: keras.Model, pixels: Pixels) -> tuple[Floats, Floats]:
    """Boxes [N, cells, 4] and scores [N, cells, classes] of pixels, uint8 [N, size, size, 3]."""
    parts = [
        network.predict_on_batch(scaled(pixels[start : start + BATCH]))
        for start in range(0, len(pixels), BATCH)
    ]
    boxes, scores = (np.concatenate(part) for part in zip(*parts, strict=True))
    return boxes, scores


def scaled(pixels: Pixels) -> Floats:
    """As `mobilenet.preprocess_input` does: 0 … 255 becomes -1 … 1."""
    return pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)


def suppressed(boxes: Floats, scores: Floats, thresholds: Thresholds) -> Detections:
    """Non-maximum suppression, each class for itself, of what `raw` returns."""
    found = tf.image.combined_non_max_suppression(
        boxes[:, :, None],
        scores,
        thresholds.most,
        thresholds.most,
        thresholds.iou,
        thresholds.score,
        clip_boxes=False,
    )
    boxes, scores, classes, count = (each.numpy() for each in found)
    return Detections(boxes, scores, classes.astype(np.int64), count.astype(np.int64))


def detect(network: keras.Model, examples: Sequence[Example], thresholds: Thresholds) -> Detections:
    """What a network finds in some pictures, a few at a time."""
    starts = range(0, len(examples), 8 * BATCH)
    parts = []
    for start in starts:
        some = range(start, min(start + 8 * BATCH, len(examples)))
        pixels = np.stack([examples[place].pixels for place in some])
        parts.append(suppressed(*raw(network, pixels), thresholds))
    return Detections(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def precision(truth: Iterable[Objects], detections: Detections) -> AveragePrecision:
    """Hold detections against what pictures show, by pycocotools.

    Shares of a picture, stretched or letterboxed, give the same IoU as its pixels.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of every step
        known = COCO()
        known.dataset = _coco(truth, len(detections.found))
        known.createIndex()
        results = list(_results(detections))
        if not (results and known.dataset["annotations"]):
            return AveragePrecision(0.0, 0.0)
        evaluation = COCOeval(known, known.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return AveragePrecision(float(evaluation.stats[0]), float(evaluation.stats[1]))


# Areas of COCO are in pixels; any scale will do where sizes are not told apart.
PIXELS = 1000.0


def _coco(truth: Iterable[Objects], pictures: int) -> dict[str, list[dict[str, object]]]:
    notes: list[dict[str, object]] = []
    for picture, objects in enumerate(truth):
        for box, label in zip(objects.boxes, objects.labels, strict=True):
            bbox = _bbox(box)
            notes.append(
                {
                    "id": len(notes) + 1,  # 0 would count as no match
                    "image_id": picture,
                    "category_id": int(label),
                    "bbox": bbox,
                    "area": bbox[2] * bbox[3],
                    "iscrowd": 0,
                }
            )
    return {
        "images": [{"id": picture} for picture in range(pictures)],
        "annotations": notes,
        "categories": [{"id": label} for label in {n["category_id"] for n in notes}],
    }


def _results(detections: Detections) -> Iterator[dict[str, object]]:
    for picture, count in enumerate(detections.found):
        for place in range(count):
            yield {
                "image_id": picture,
                "category_id": int(detections.classes[picture, place]),
                "bbox": _bbox(detections.boxes[picture, place]),
                "score": float(detections.scores[picture, place]),
            }


def _bbox(box: Floats) -> list[float]:
    ymin, xmin, ymax, xmax = PIXELS * box.astype(np.float64)
    return [xmin, ymin, xmax - xmin, ymax - ymin]
