"""What the bench knows about a model, and the arrays that go in and come out.

Does not know how a model is read or run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.models.original import Original

PRECISIONS = ("fp32", "int8", "fp16")  # in the order in which they are shown
# A detector's outputs, and its optional input, with the TensorFlow Object Detection API's names.
DETECTIONS = {"detection_boxes", "detection_scores", "detection_classes", "num_detections"}
SCORE_THRESHOLD = "score_threshold"

Probabilities = NDArray[np.float32]  # [pictures, classes]
Objects = NDArray[np.float32]  # see `packed`


@dataclass(frozen=True)
class Detector:
    """What only a model that finds objects has."""

    resize: str  # stretch, crop or letterbox
    score_threshold: float  # as exported
    iou_threshold: float
    max_detections: int
    optional: bool  # whether a request may bring its own score_threshold
    min_score: float | None = None  # that each request asks for; None leaves it to the model

    @property
    def least(self) -> float:
        """The lowest score of an object that it returns."""
        return self.score_threshold if self.min_score is None else self.min_score


@dataclass(frozen=True)
class Model:
    """A served model, its original, and how uint8 pixels become the original's input."""

    name: str
    version: str
    onnx: str
    original: Original
    sha256: str  # of model.onnx
    source: dict[str, str]
    height: int
    width: int
    classes: int
    input_name: str
    input_type: str  # UINT8 or FP32, as the Open Inference Protocol spells them
    output_name: str
    scale: tuple[float, ...]  # one number, or one for each channel in the order of `color`
    offset: tuple[float, ...]
    precision: str  # one of PRECISIONS
    calibrated_on: tuple[str, ...]  # first 16 digits of each picture file's SHA-256
    detector: Detector | None = None  # None for a classifier
    color: str = "RGB"  # or BGR
    head: str = "softmax"  # what a classifier's scores are; see `heads`
    single: bool = False  # whether model.onnx takes one picture at a time


def as_input(model: Model, pixels: NDArray[np.uint8]) -> NDArray[Any]:
    """The input of model.onnx: the pixels themselves, or scaled to float32 if it takes FP32."""
    return pixels if model.input_type == "UINT8" else scaled(model, pixels)


def scaled(model: Model, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The input of the original, as float32 [batch, H, W, 3]."""
    ordered = pixels[..., ::-1] if model.color == "BGR" else pixels
    scale, offset = (np.asarray(numbers, np.float32) for numbers in (model.scale, model.offset))
    result: NDArray[np.float32] = ordered * scale + offset
    return result


def unscaled(model: Model, given: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The pixels from which `scaled` made this input."""
    scale, offset = (np.asarray(numbers, np.float32) for numbers in (model.scale, model.offset))
    pixels = ((given - offset) / scale).round().clip(0, 255).astype(np.uint8)
    return pixels[..., ::-1] if model.color == "BGR" else pixels


def packed(outputs: Mapping[str, NDArray[Any]]) -> Objects:
    """A detector's four outputs as one array float32 [batch, most, 6], zero after the last object.

    Each object has ymin, xmin, ymax, xmax, score and class.
    """
    scores, count = outputs["detection_scores"], outputs["num_detections"].reshape(-1, 1)
    columns = (
        outputs["detection_boxes"],
        scores[..., None],
        outputs["detection_classes"][..., None],
    )
    found: Objects = np.concatenate(columns, axis=2, dtype=np.float32)
    found[np.arange(found.shape[1]) >= count] = 0
    return found
