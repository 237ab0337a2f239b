"""How pixels 0 … 255 become what a model takes. Light: knows numpy, and neither Keras nor ONNX."""

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossrun_export.errors import ExportError

Color = Literal["RGB", "BGR"]
Three = tuple[float, float, float]
Numbers = float | Three

# Of ImageNet, in the order RGB: shares of the range, and grey values.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CAFFE_MEAN = (123.68, 116.779, 103.939)

EXPECTED = (
    "0..255, 0..1, -1..1, torch, caffe (BGR less the mean) or scale=…,offset=…, each one number or "
    "three with slashes between, and color=BGR if it takes that"
)


@dataclass(frozen=True)
class Scaling:
    """A model takes pixel * scale + offset, channel by channel, in the order that `color` says."""

    name: str  # a key of CHOICES, or the words that asked for it
    scale: Three
    offset: Three
    color: Color = "RGB"

    @property
    def shortest(self) -> tuple[Numbers, Numbers]:
        """Scale and offset, each one number where all channels have the same."""
        return _shortest(self.scale), _shortest(self.offset)

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the model takes for RGB pixels [..., 3]: float32, rounded after each step."""
        ordered = pixels[..., ::-1] if self.color == "BGR" else pixels
        scale, offset = (np.asarray(numbers, np.float32) for numbers in self.shortest)
        scaled: NDArray[np.float32] = ordered * scale + offset
        return scaled


@dataclass(frozen=True)
class Preprocessing:
    """What an export assumes of pixels."""

    scaling: Scaling
    because: str


def _shortest(numbers: Three) -> Numbers:
    return numbers[0] if len(set(numbers)) == 1 else numbers


def _evenly(name: str, scale: float, offset: float) -> Scaling:
    return Scaling(name, (scale,) * 3, (offset,) * 3)


def _torch() -> Scaling:
    red, green, blue = (1 / (255 * deviation) for deviation in DEVIATION)
    offsets = [-mean / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)]
    return Scaling("torch", (red, green, blue), (offsets[0], offsets[1], offsets[2]))


def _caffe() -> Scaling:
    red, green, blue = CAFFE_MEAN
    return Scaling("caffe", (1.0, 1.0, 1.0), (-blue, -green, -red), "BGR")


CHOICES: dict[str, Scaling] = {
    choice.name: choice
    for choice in (
        _evenly("0..255", 1.0, 0.0),
        _evenly("0..1", 1 / 255, 0.0),
        _evenly("-1..1", 1 / 127.5, -1.0),
        _torch(),
        _caffe(),
    )
}


def parse(text: str) -> Scaling:
    """What --pixels asks for.

    Raises:
        ExportError: it is none of CHOICES and no scale and offset.
    """
    if text in CHOICES:
        return CHOICES[text]
    try:
        pairs = [word.split("=") for word in text.split(",")]
        words = dict(pairs)
        color: Any = words.pop("color", "RGB")
        scale, offset = (_three(words.pop(key)) for key in ("scale", "offset"))
    except (KeyError, ValueError) as error:
        raise ExportError(f"--pixels {text!r}: expected {EXPECTED}") from error
    if len(pairs) > len(dict(pairs)) or words or color not in ("RGB", "BGR") or 0 in scale:
        raise ExportError(f"--pixels {text!r}: expected {EXPECTED}")
    return Scaling(text, scale, offset, color)


def _three(text: str) -> Three:
    numbers = [float(word) for word in text.split("/")]
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError(text)
    red, green, blue = numbers * 3 if len(numbers) == 1 else numbers
    return red, green, blue
