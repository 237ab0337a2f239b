"""Tiny SavedModels: detectors that find coloured rectangles, and what cannot be exported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from crossrun_export.backend import tensorflow as tf

LABELS = ["red", "green", "blue"]
SIZE = 48, 64  # height and width of the fixed ones
# By how much a pixel is red, green, blue: 1x1 convolutions, which int8 can have.
COLOURS = (np.where(np.eye(3), 1, -0.5) / 255).astype(np.float32)[None, None]


class Detector(tf.Module):  # type: ignore[misc]
    """Finds all that is red, all green, all blue; one box each."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = tf.Variable(COLOURS)

    def find(self, pictures: Any) -> tuple[Any, Any]:
        """Boxes [batch, 3, 4], ymin xmin ymax xmax in pixels, and scores [batch, 3] of colours."""
        excess = tf.nn.conv2d(pictures, self.colours, 1, "SAME")
        mask = excess > 0.2501  # no value that pixels of a few bits have, or their means
        shape = tf.shape(pictures)
        rows, columns = tf.range(shape[1]), tf.range(shape[2])
        sides = []
        for places, axes in ((rows[:, None, None], (1, 2)), (columns[None, :, None], (1, 2))):
            at = tf.cast(places, tf.float32) + 0 * excess
            low = tf.reduce_min(tf.where(mask, at, 1e4), axes)
            high = tf.reduce_max(tf.where(mask, at + 1, 0.0), axes)
            sides.append((tf.minimum(low, high), high))
        (top, bottom), (left, right) = sides
        scores = tf.clip_by_value(tf.reduce_max(excess, [1, 2]), 0.0, 1.0)
        return tf.stack([top, left, bottom, right], axis=2), scores


def of_the_api(folder: Path) -> Path:
    """As TensorFlow's Object Detection API exports: one uint8 picture of any size, eight outputs.

    Its resizer is inside, classes count from 1, and everything is float32.
    """
    detector = Detector()
    spec = tf.TensorSpec([1, None, None, 3], tf.uint8, name="input_tensor")

    @tf.function(input_signature=[spec])  # type: ignore[untyped-decorator]
    def serve(input_tensor: Any) -> dict[str, Any]:
        resized = tf.image.resize(tf.cast(input_tensor, tf.float32), [96, 128])
        boxes, scores = detector.find(resized)
        shares = boxes / tf.constant([96, 128, 96, 128], tf.float32)
        best, order = tf.math.top_k(scores, 3)
        each = tf.concat([1 - scores[..., None], scores[..., None] * tf.eye(3)], axis=2)
        return {
            "detection_anchor_indices": tf.cast(order, tf.float32),
            "detection_boxes": tf.gather(shares, order, batch_dims=1),
            "detection_classes": tf.cast(order, tf.float32) + 1,
            "detection_multiclass_scores": tf.gather(each, order, batch_dims=1),
            "detection_scores": best,
            "num_detections": tf.reduce_sum(tf.cast(best > 0.01, tf.float32), axis=1),
            "raw_detection_boxes": shares,
            "raw_detection_scores": each,
        }

    return save(detector, folder, serve)


def of_rows(folder: Path, *, scores: float = 1.0, boxes: float = 1.0) -> Path:
    """`images` FP32 [1, 48, 64, 3], 0..255 → `found` [1, 3, 6] of x1 y1 x2 y2 score class.

    Scores and all else are multiplied by what is given.
    """
    detector = Detector()

    def serve(images: Any) -> dict[str, Any]:
        places, sure = detector.find(images)
        best, order = tf.math.top_k(sure * scores, 3)
        sides = tf.gather(tf.gather(places, order, batch_dims=1), [1, 0, 3, 2], axis=2)
        numbers = tf.cast(order, tf.float32)
        return {
            "found": tf.concat([sides * boxes, best[..., None], numbers[..., None] * boxes], axis=2)
        }

    return save(detector, folder, signature(serve, 1))


def that_mixes(folder: Path) -> Path:
    """`of_rows` of any batch, in which the picture before a picture is part of its scores."""
    detector = Detector()

    def serve(images: Any) -> dict[str, Any]:
        boxes, scores = detector.find((images + tf.roll(images, 1, axis=0)) / 2)
        sides = tf.gather(boxes, [1, 0, 3, 2], axis=2)
        numbers = tf.zeros_like(scores) + tf.range(3, dtype=tf.float32)
        return {"found": tf.concat([sides, scores[..., None], numbers[..., None]], axis=2)}

    return save(detector, folder, signature(serve, None))


def of_functions(folder: Path, **functions: Callable[[Any], dict[str, Any]]) -> Path:
    """Several signatures of one picture, [1, 48, 64, 3] FP32."""
    made = {name: signature(function, 1) for name, function in functions.items()}
    tf.saved_model.save(tf.Module(), str(folder), signatures=made)
    return folder


def signature(serve: Callable[[Any], dict[str, Any]], batch: int | None) -> Any:
    """A function of `images`."""
    spec = tf.TensorSpec([batch, *SIZE, 3], tf.float32, name="images")
    return tf.function(serve, input_signature=[spec])


def save(module: Any, folder: Path, serve: Any) -> Path:
    """Save it with one signature."""
    module.serve = serve
    tf.saved_model.save(module, str(folder), signatures=serve)
    return folder
