"""What measurers know of a model. Knows nothing of how it is read or run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

PRECISIONS = ("fp32", "int8", "fp16")  # in the order in which they are shown


@dataclass(frozen=True)
class Model:
    """A served model and its Keras source, with what turns uint8 pixels into the source's input."""

    name: str
    version: str
    onnx: str
    keras: str
    sha256: str  # of model.onnx
    source: dict[str, str]
    height: int
    width: int
    classes: int
    input_name: str
    input_type: str  # UINT8 or FP32, as the Open Inference Protocol spells them
    output_name: str
    scale: float
    offset: float
    precision: str  # one of PRECISIONS
    calibrated_on: tuple[str, ...]  # SHA-256 of picture files, its first 16 digits


def as_input(model: Model, pixels: NDArray[np.uint8]) -> NDArray[Any]:
    """What model.onnx takes: the pixels themselves, or scaled to float32 in the FP32 variant."""
    return pixels if model.input_type == "UINT8" else scaled(model, pixels)


def scaled(model: Model, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the source Keras model takes."""
    return pixels * np.float32(model.scale) + np.float32(model.offset)
