"""Asks an original: what it takes of pixels, and what its outputs mean. Knows no runtime."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.errors import BenchError
from crossrun_bench.models.layouts import Outputs, objects
from crossrun_bench.models.model import Model, Objects, Probabilities, scaled

Ask = Callable[[NDArray[Any]], Outputs]  # from the input to the outputs by their names


def answers(
    model: Model, pixels: NDArray[np.uint8], ask: Ask, *, single: bool
) -> Probabilities | Objects:
    """What the original says of pixels uint8 [batch, H, W, 3].

    Args:
        model: whose original is asked.
        pixels: the pictures.
        ask: runs the original.
        single: whether it takes one picture at a time; it is then asked so.

    Raises:
        BenchError: its outputs are not those that crossrun.source names.
    """
    given = taken(model, pixels)
    parts = np.split(given, len(given)) if single else [given]
    return np.concatenate([_read(model, ask(part)) for part in parts])


def taken(model: Model, pixels: NDArray[np.uint8]) -> NDArray[Any]:
    """The original's input, in its type and with its axes."""
    given = scaled(model, pixels)
    ordered = given.transpose(0, 3, 1, 2) if model.original.axes == "NCHW" else given
    return np.ascontiguousarray(ordered, model.original.dtype)


def _read(model: Model, outputs: Outputs) -> Probabilities | Objects:
    if model.detector:
        assert model.original.layout
        return objects(outputs, model.original.layout, model)
    return _scores(model, outputs)


def _scores(model: Model, outputs: Outputs) -> Probabilities:
    """The output that has a score for each class."""
    flat = {name: array.reshape(len(array), -1) for name, array in outputs.items() if array.ndim}
    fitting = {name: array for name, array in flat.items() if array.shape[1] == model.classes}
    found = (
        fitting
        if len(fitting) == 1
        else {n: a for n, a in fitting.items() if n == model.output_name}
    )
    if len(found) != 1:
        told = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
        raise BenchError(
            f"expected one output [batch, {model.classes}] of the original, got {told}"
        )
    (scores,) = found.values()
    return scores.astype(np.float32)
