"""What a model needs to be asked with pictures, and how its scores become labels.

Knows arrays and the model's metadata; no messages, no codecs.
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_server.errors import InvalidRequest
from crossrun_server.images import Pixels, Resize
from crossrun_server.model import Model
from crossrun_server.tensors import Array, TensorSpec


@dataclass(frozen=True)
class Classifier:
    """How pictures go into a model's one input and scores come out of its one output."""

    model: Model
    input: TensorSpec
    output: TensorSpec
    scale: float
    offset: float
    resize: Resize

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input, pixels."""
        return self.input.shape[1], self.input.shape[2]

    def tensor(self, pictures: list[Pixels]) -> Array:
        """Stack uint8 pictures into the input's tensor, scaled where the model takes floats."""
        pixels = np.stack(pictures)
        if self.input.datatype == "UINT8":
            return pixels
        return pixels * np.float32(self.scale) + np.float32(self.offset)

    def label(self, index: int) -> str:
        """Name a class; the index itself where the model has no label for it."""
        labels = self.model.labels.get(self.output.name, ())
        return labels[index] if index < len(labels) else str(index)


def describe(model: Model) -> Classifier:
    """Find out how a model is asked with pictures.

    Raises:
        InvalidRequest: it takes no pictures, gives no scores, or does not say how pixels scale.
    """
    input_, output = _image_input(model), _scores_output(model)
    preprocessing: dict[str, Any] = json.loads(model.metadata.get("crossrun.preprocessing", "{}"))
    if input_.datatype == "FP32" and "scale" not in preprocessing:
        raise InvalidRequest(
            f"{model.name!r} takes FP32 and its file does not say how pixels are scaled "
            "(metadata crossrun.preprocessing); use ModelInfer"
        )
    return Classifier(
        model,
        input_,
        output,
        preprocessing.get("scale", 1.0),
        preprocessing.get("offset", 0.0),
        preprocessing.get("resize", "stretch"),
    )


def best(scores: NDArray[np.float32], top_k: int, min_score: float) -> list[int]:
    """Choose the indices of the highest scores, best first; the lower index first among equals.

    Args:
        scores: FP32 [classes].
        top_k: how many at most.
        min_score: the least score that counts.
    """
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [int(index) for index in order if scores[index] >= min_score]


def _image_input(model: Model) -> TensorSpec:
    specs = list(model.inputs.values())
    shape, datatype = specs[0].shape, specs[0].datatype
    fits = len(specs) == 1 and datatype in ("UINT8", "FP32") and model.config.max_batch_size > 0
    if not (fits and len(shape) == 4 and shape[3] == 3 and min(shape[1:3]) > 0):
        raise InvalidRequest(
            f"{model.name!r} takes no pictures: expected one UINT8 or FP32 input "
            "[batch, height, width, 3]; use ModelInfer"
        )
    return specs[0]


def _scores_output(model: Model) -> TensorSpec:
    for spec in model.outputs.values():
        if spec.datatype == "FP32" and len(spec.shape) == 2:
            return spec
    raise InvalidRequest(f"{model.name!r} gives no FP32 scores [batch, classes]; use ModelInfer")
