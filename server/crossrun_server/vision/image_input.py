"""How pictures go into a model: its image input, and what its file says about preprocessing.

Knows arrays and the model's metadata; no messages, no codecs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from crossrun_server.errors import InvalidRequest
from crossrun_server.models.model import Model
from crossrun_server.scheduling.batching import Tensors
from crossrun_server.tensors.tensor_spec import DTYPES, Array, TensorSpec
from crossrun_server.vision import boxes
from crossrun_server.vision.boxes import RESIZES, Resize, Size
from crossrun_server.vision.images import Pixels

EXAMPLE = Size(224, 224)  # in the text of an error
OTHERWISE = "use ModelInfer, or let crossrun-export onnx make it a model of pictures"


@dataclass(frozen=True)
class Scaling:
    """An FP32 input takes pixel * scale + offset for each channel, in the order of `color`."""

    scale: Array  # float32 [] or [3]
    offset: Array
    color: str  # RGB or BGR

    def apply(self, pixels: Pixels) -> Array:
        """Turn RGB pixels [..., 3] into what the input takes, float32 [..., 3]."""
        ordered = pixels[..., ::-1] if self.color == "BGR" else pixels
        return ordered * self.scale + self.offset


@dataclass(frozen=True)
class ImageInput:
    """The input that takes pictures, and how they are prepared for it."""

    model: Model
    spec: TensorSpec
    batch: int  # the most pictures in a run
    scaling: Scaling
    resize: Resize
    longest: int  # the most pixels of a side that the model leaves free

    @property
    def is_free(self) -> bool:
        """Whether the model leaves the height, the width or both free."""
        return -1 in self.spec.shape[1:3]

    def size(self, picture: Size) -> Size:
        """Return the size of the input for a picture of some size, upright."""
        return boxes.settled(Size(*self.spec.shape[1:3]), picture, self.longest)

    def at_once(self, size: Size) -> int:
        """How many pictures of a size share a run: few if they are large, because of the memory."""
        if not self.is_free:
            return self.batch
        return max(1, min(self.batch, self.longest**2 // (size.height * size.width)))

    def tensors(self, pictures: Sequence[Pixels], options: Mapping[str, float]) -> Tensors:
        """Make a batch of pictures, and of optional inputs that have the same value for all.

        Args:
            pictures: uint8 [height, width, 3] each, all of the same size.
            options: values of optional inputs.
        """
        filled = {name: self._filled(name, len(pictures), x) for name, x in options.items()}
        return {self.spec.name: self._scaled(np.stack(pictures)), **filled}

    def _scaled(self, pixels: Pixels) -> Array:
        if self.spec.datatype == "UINT8":
            return pixels
        return self.scaling.apply(pixels)

    def _filled(self, name: str, rows: int, value: float) -> Array:
        spec = self.model.inputs[name]
        first = (rows,) if self.model.config.max_batch_size else spec.shape[:1]
        shape = tuple(max(size, 1) for size in (*first, *spec.shape[1:]))
        return np.full(shape, value, DTYPES[spec.datatype])


def describe(model: Model, longest: int = 0) -> ImageInput:
    """Find out how pictures go into a model.

    Args:
        model: the model.
        longest: the most pixels of a side that it leaves free; 0 if both sides must be fixed.

    Raises:
        InvalidRequest: it takes no pictures, or leaves a size free that must be fixed, or does
            not say how pixels are scaled.
    """
    spec = _image_spec(model)
    if not longest and -1 in spec.shape[1:3]:
        raise InvalidRequest(
            f"{model.name!r} leaves the size of its pictures free, {list(spec.shape)}, by which "
            f"its answers would change; fix it in config.pbtxt, as in {fixing(model, spec)}"
        )
    preprocessing = _preprocessing(model)
    if spec.datatype == "FP32" and "scale" not in preprocessing:
        raise InvalidRequest(
            f"{model.name!r} takes FP32 and its file does not say how pixels are scaled "
            f"(metadata crossrun.preprocessing); {OTHERWISE}"
        )
    return ImageInput(
        model,
        spec,
        (model.config.max_batch_size if model.config.independent else 0) or 1,
        _scaling(model, preprocessing if spec.datatype == "FP32" else {}),
        _resize(model, preprocessing),
        longest,
    )


def fixing(model: Model, spec: TensorSpec, size: Size = EXAMPLE) -> str:
    """Return the lines of config.pbtxt that fix the height and the width of a model's pictures."""
    most = model.config.max_batch_size
    first, *sides = spec.shape[:3]
    fixed = [own if own > 0 else wanted for own, wanted in zip(sides, size, strict=True)]
    dims = [*([] if most else [first]), *fixed, 3]
    return (
        f"max_batch_size: {most} input [{{ name: {json.dumps(spec.name)} "
        f"data_type: TYPE_{spec.datatype} dims: {dims} }}]"
    )


def _preprocessing(model: Model) -> dict[str, Any]:
    try:
        found = json.loads(model.metadata.get("crossrun.preprocessing", "{}"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest(
            f"{model.name!r} says wrongly how pixels are scaled (metadata "
            "crossrun.preprocessing): expected a JSON object; use ModelInfer"
        )
    return found


def _scaling(model: Model, preprocessing: dict[str, Any]) -> Scaling:
    color = preprocessing.get("color", "RGB")
    try:
        scale, offset = (
            np.array(preprocessing.get(key, absent), np.float32)
            for key, absent in (("scale", 1.0), ("offset", 0.0))
        )
    except (TypeError, ValueError):
        scale = offset = np.empty(0, np.float32)
    if {scale.shape, offset.shape} - {(), (3,)} or color not in ("RGB", "BGR"):
        raise InvalidRequest(
            f"{model.name!r} says wrongly how pixels are scaled (metadata "
            "crossrun.preprocessing): expected a scale and an offset, each one number or three, "
            "and the color RGB or BGR; use ModelInfer"
        )
    return Scaling(scale, offset, color)


def _image_spec(model: Model) -> TensorSpec:
    required = model.config.required
    if len(required) == 1 and _takes_pictures(required[0]):
        return required[0]
    given = ", ".join(f"{spec.name!r} {spec.datatype} {list(spec.shape)}" for spec in required)
    raise InvalidRequest(
        f"{model.name!r} takes no pictures: expected one UINT8 or FP32 input "
        f"[batch, height, width, 3], the channels last, and it takes {given}; {OTHERWISE}"
    )


def _takes_pictures(spec: TensorSpec) -> bool:
    shape = spec.shape
    if len(shape) != 4 or spec.datatype not in ("UINT8", "FP32"):
        return False
    return shape[0] in (-1, 1) and 0 not in shape and shape[3] == 3


def _resize(model: Model, preprocessing: dict[str, Any]) -> Resize:
    found = preprocessing.get("resize", "stretch")
    if found not in RESIZES:
        raise InvalidRequest(
            f"{model.name!r} says resize {found!r} (metadata crossrun.preprocessing), expected "
            f"{', '.join(RESIZES)}; use ModelInfer"
        )
    resize: Resize = found
    return resize
