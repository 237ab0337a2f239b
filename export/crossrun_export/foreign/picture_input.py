"""Which input of a model takes a picture, told by the shapes of all that it has."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from crossrun_export.errors import ExportError
from crossrun_export.foreign.source import Axes, Picture

ANY = -1  # a dimension of any size
RGB = 3


def find(
    inputs: Mapping[str, tuple[tuple[int, ...] | None, np.dtype[Any]]], where: object
) -> Picture:
    """The one input of a model, which has to take RGB pictures.

    Args:
        inputs: shape, if it is known, and dtype of each, by name.
        where: the model's file, for what is said.

    Raises:
        ExportError: there are several inputs, or the one takes no pictures.
    """
    if len(inputs) != 1:
        raise ExportError(
            f"{where} has {len(inputs)} inputs, {', '.join(inputs)}; expected one, of pictures"
        )
    ((name, (shape, dtype)),) = inputs.items()
    axes = _axes(shape or ())
    if axes is None or dtype.kind not in "fiu":
        raise ExportError(
            f"{where} takes {name}, {dtype} {_text(shape)}; expected numbers [batch, height, "
            "width, 3] or [batch, 3, height, width]"
        )
    batch, *rest = shape or ()
    height, width = rest[:2] if axes == "NHWC" else rest[1:]
    return Picture(name, dtype, axes, batch, (height, width))


def _axes(shape: tuple[int, ...]) -> Axes | None:
    """Where the channels are: last, if both could be."""
    if len(shape) != 4:
        return None
    return "NHWC" if shape[3] == RGB else "NCHW" if shape[1] == RGB else None


def _text(shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return "of any shape"
    return f"[{', '.join('any' if size == ANY else str(size) for size in shape)}]"
