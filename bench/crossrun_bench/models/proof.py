"""Reads the proof beside a model: some inputs, with the original's answers to them.

docs/model-repository.md describes the file. Does not know how answers are compared.
"""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.errors import BenchError
from crossrun_bench.models.model import Model, packed, unscaled

Array = NDArray[Any]

FILE = "proof.npz"
MOST_BYTES, MOST_UNPACKED = 1_000_000, 64_000_000
DETECTIONS = "detections"  # stands for a detector's four outputs


@dataclass(frozen=True)
class Proof:
    """Pictures, and the answers that a runner should give to them."""

    pixels: NDArray[np.uint8]  # [pictures, H, W, 3]
    expected: Array  # [pictures, classes]; for a detector objects, see `packed`
    origin: str  # photographs or drawn
    max_diff: float
    min_agreement: float
    threshold: float | None  # a detector's lowest score; None for a classifier
    decides: float = 0.5  # a single number above this speaks for the second of two classes


def read(model: Model) -> Proof | None:
    """The proof beside the model's file, or None if there is none.

    Raises:
        BenchError: the proof is damaged, or belongs to another model.
    """
    file = Path(model.onnx).with_name(FILE)
    if not file.exists():
        return None
    try:
        return _proof(_arrays(file), model)
    except Exception as error:  # whatever numpy, zipfile and zlib meet in the bytes
        told = " ".join(str(error).split())
        raise BenchError(
            f"{file}: not a proof of this model ({told}); delete it to go on"
        ) from error


def _arrays(file: Path) -> dict[str, Array]:
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if file.stat().st_size > MOST_BYTES or unpacked > MOST_UNPACKED:
        raise ValueError(
            f"it is over {MOST_BYTES:,} bytes, or its arrays are over {MOST_UNPACKED:,}"
        )
    with np.load(file, allow_pickle=False) as stored:
        return dict(stored)


def _proof(arrays: dict[str, Array], model: Model) -> Proof:
    about = json.loads(str(arrays["about"].item()))
    outputs = {k.removeprefix("output/"): v for k, v in arrays.items() if k.startswith("output/")}
    given = arrays[f"input/{model.input_name}"]
    # Runners scale the pixels themselves, as they do when they are measured.
    is_uint8 = model.input_type == "UINT8"
    pixels = given.astype(np.uint8, casting="equiv") if is_uint8 else unscaled(model, given)
    held = DETECTIONS if model.detector else model.output_name
    expected = packed(outputs) if model.detector else outputs[model.output_name]
    if expected.shape[0] != len(pixels) or not len(pixels) or not np.isfinite(expected).all():
        raise ValueError("expected at least one picture, and finite numbers for each")
    if pixels.shape[1:] != (model.height, model.width, 3):
        raise ValueError(f"its pictures are {list(pixels.shape[1:])}")
    threshold = float(about[DETECTIONS]["score_threshold"]) if model.detector else None
    return Proof(
        pixels,
        expected,
        str(about["origin"]),
        float(about["max_diff"][held]),
        float(about["min_agreement"]),
        threshold,
        float(about.get("decides", 0.5)),
    )
