"""How good the boxes are, on drawn pictures that know theirs."""

from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from crossrun_export import inference, runtime, scenes
from crossrun_export.graph import Array
from crossrun_export.options import InputDtype
from crossrun_export.sources import Source
from crossrun_export.train import HELD_OUT_SEED

PICTURES = 600
GOOD = 0.5  # intersection over union from which on a box counts


@dataclass(frozen=True)
class Localization:
    """Shares, 0 to 1, of pictures of one object each that no training saw."""

    pictures: int
    seed: int
    corloc: float  # the box of what is there is good, where its class is among the k best
    top1: float  # the first class is right and its box is good


def measure(source: Source, model: onnx.ModelProto, input_dtype: InputDtype) -> Localization | None:
    """Measure a localizer on drawn pictures; None where its classes are others than theirs."""
    height, width = source.size
    if source.labels != scenes.CLASSES or height != width:
        return None
    drawn = [scenes.draw(HELD_OUT_SEED, index, height) for index in range(PICTURES)]
    pixels = np.stack([scene.pixels for scene in drawn])
    found = runtime.outputs(model, inference.inputs_of(source, pixels, input_dtype))
    truth = np.array([scene.box for scene in drawn])[:, np.newaxis] / height
    labels = np.array([scene.label for scene in drawn])
    is_right = found["detection_classes"] == labels[:, np.newaxis]
    is_good = is_right & (overlap(found["detection_boxes"], truth) >= GOOD)
    corloc, top1 = is_good.any(axis=1).mean(), is_good[:, 0].mean()
    return Localization(PICTURES, HELD_OUT_SEED, float(corloc), float(top1))


def overlap(boxes: Array, others: Array) -> NDArray[np.float64]:
    """Intersection over union of boxes [..., 4], ymin xmin ymax xmax."""
    starts = np.maximum(boxes[..., :2], others[..., :2])
    ends = np.minimum(boxes[..., 2:], others[..., 2:])
    shared = (ends - starts).clip(0).prod(axis=-1)
    each = [(b[..., 2:] - b[..., :2]).prod(axis=-1) for b in (boxes, others)]
    return np.asarray(shared / (each[0] + each[1] - shared), np.float64)
