"""The proof that travels with a model: a few inputs, and what the original answers to them.

Whoever runs the model runs these, too, and sees how far its answers are from the original's: on
this provider, on this processor. docs/model-repository.md describes the file. Knows no Keras.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from crossrun_export.errors import ExportError

Array = NDArray[Any]
Origin = Literal["photographs", "drawn"]

FILE = "proof.npz"
MOST_BYTES = 1_000_000
MOST = 8  # pictures
FEWEST = 2  # where there are as many; before it is one, pictures are made coarser
BLOCKS = (1, 2, 4, 8)  # sides of the squares of one colour that a picture is made of to fit
# What a reduced precision differs by depends on how a processor or a provider rounds. Measured on
# MobileNet in int8, the largest difference of eight pictures was up to 1.6 times as large in
# another runtime as in that which the proof was made with.
MARGIN = 3.0
FEWER = 0.1  # share of answers that may be others, beside MARGIN times as many as here


@dataclass(frozen=True)
class Bounds:
    """How far from the original the answers may be, wherever the model runs."""

    max_diff: Mapping[str, float]  # of any number of an output, by its name
    min_agreement: float  # share of answers that have to be the same


@dataclass(frozen=True)
class Proof:
    """Arrays by name, the pictures first; what is NaN in an output is not held."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    bounds: Bounds
    notes: Mapping[str, Any] = field(default_factory=dict)  # how outputs are compared


def write(
    folder: Path, pixels: Array, make: Callable[[Array], Proof], about: Mapping[str, Any]
) -> None:
    """Write FILE, with as many of some pictures as fit.

    Args:
        folder: that of the model's version.
        pixels: the pictures of the verification, uint8 [count, height, width, 3].
        make: runs the original and the model on some of them.
        about: what else is said: the precision, where pictures and model come from.

    Raises:
        ExportError: not one fits into MOST_BYTES.
    """
    some = pixels[spread(len(pixels), MOST)]
    for block in BLOCKS:
        whole = make(_coarse(some, block))
        for count in range(len(some), min(FEWEST, len(some)) - 1, -1):
            data = _encoded(_rows(whole, spread(len(some), count)), about)
            if len(data) <= MOST_BYTES:
                (folder / FILE).write_bytes(data)
                return
    raise ExportError(f"the inputs and outputs of one picture are over {MOST_BYTES:,} bytes")


def spread(there: int, most: int) -> NDArray[np.int64]:
    """Places of at most so many of all pictures, evenly spread over them."""
    return np.linspace(0, there - 1, min(most, there)).round().astype(np.int64)


def reduced(max_diff: float, agreement: float, slack: float) -> tuple[float, float]:
    """The bounds of a reduced precision, from what was measured on the proof's pictures.

    Args:
        max_diff: the largest difference.
        agreement: the share of answers that were the same.
        slack: the largest difference that is allowed in full precision.

    Returns:
        The largest difference and the least agreement that are allowed.
    """
    return MARGIN * max_diff + slack, max(0.0, 1 - MARGIN * (1 - agreement) - FEWER)


def agreement(expected: Array, got: Array, tie: float, decides: float = 0.5) -> float:
    """Share of rows whose best class is one of the original's best, those within `tie` of it.

    Of a single number a row, which side of `decides` it lies on.
    """
    if expected.shape[1] == 1:
        same = ((expected > decides) == (got > decides)) | (np.abs(expected - decides) <= tie)
        return float(same.mean())
    chosen = np.take_along_axis(expected, got.argmax(axis=1)[:, None], axis=1)[:, 0]
    return float((chosen >= expected.max(axis=1) - tie).mean())


def _rows(proof: Proof, places: NDArray[np.int64]) -> Proof:
    inputs = {name: array[places] for name, array in proof.inputs.items()}
    outputs = {name: array[places] for name, array in proof.outputs.items()}
    return Proof(inputs, outputs, proof.bounds, proof.notes)


def _coarse(pixels: Array, block: int) -> Array:
    """The same pictures in squares of one colour: they take fewer bytes."""
    _, height, width, _ = pixels.shape
    large = pixels[:, ::block, ::block].repeat(block, axis=1).repeat(block, axis=2)
    return large[:, :height, :width]


def _encoded(proof: Proof, about: Mapping[str, Any]) -> bytes:
    text = json.dumps(
        {
            **about,
            "max_diff": dict(proof.bounds.max_diff),
            "min_agreement": proof.bounds.min_agreement,
            **proof.notes,
        }
    )
    arrays = {f"input/{name}": array for name, array in proof.inputs.items()}
    arrays |= {f"output/{name}": array for name, array in proof.outputs.items()}
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, about=np.array(text), **arrays)
    return file.getvalue()
