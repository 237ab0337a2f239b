"""The proof beside a model: inputs with the original's own answers, and how far from them is right.

docs/model-repository.md describes the file, which the export writes. Knows arrays; runs nothing.
"""

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from crossrun_server.errors import LoadError
from crossrun_server.tensors.tensor_spec import Array

FILE = "proof.npz"
MOST_BYTES = 1_000_000  # of the file
MOST_UNPACKED = 64_000_000  # bytes of its arrays
ABOUT, INPUT, OUTPUT = "about", "input/", "output/"
ORIGINS = PHOTOGRAPHS, DRAWN = ("photographs", "drawn")
DETECTIONS = "detections"  # stands for the four outputs of a detector, which are held together
BOXES, SCORES, CLASSES, COUNT = DETECTED = (
    "detection_boxes", "detection_scores", "detection_classes", "num_detections"
)  # fmt: skip


@dataclass(frozen=True)
class Proof:
    """Arrays by the graph's names, pictures first; what is NaN in an output is not held."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    precision: str  # fp32, int8, fp16
    origin: str  # one of ORIGINS
    max_diff: Mapping[str, float]  # of any number of an output; of DETECTIONS for all four
    min_agreement: float  # share of answers that have to be the same
    classes: str = ""  # the output whose best class is compared; none where empty
    threshold: float = 0.0  # of a detector: the least score
    decides: float = 0.5  # from which on a single number speaks for the second of two classes

    @property
    def rows(self) -> int:
        """How many pictures there are."""
        return len(next(iter(self.inputs.values())))

    @property
    def wanted(self) -> tuple[str, ...]:
        """The outputs to ask for."""
        return tuple(self.outputs)


def read(file: Path) -> Proof | None:
    """Read the proof beside a model's file; None where there is none.

    Raises:
        LoadError: it is damaged, too large, or no proof.
    """
    path = file.with_name(FILE)
    if not path.exists():
        return None
    try:
        return _proof(_arrays(path))
    except Exception as error:  # whatever numpy, zipfile and zlib meet in the bytes
        reason = " ".join(str(error).split())
        raise LoadError(
            f"{FILE} is no readable proof: {reason}; expected what crossrun-export writes, "
            "or no such file"
        ) from error


def tolerance(text: str, option: str) -> float:
    """Read a largest difference, as a person gives it.

    Raises:
        LoadError: it is no number from 0.
    """
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not found >= 0:  # so that NaN fails too
        raise LoadError(f"{option} is {text!r}, expected a number from 0, such as 0.01")
    return found


def _arrays(path: Path) -> dict[str, Array]:
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"it has {path.stat().st_size:,} bytes, allowed are {MOST_BYTES:,}")
    with zipfile.ZipFile(path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > MOST_UNPACKED:
        raise ValueError(f"its arrays have {size:,} bytes, allowed are {MOST_UNPACKED:,}")
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


def _proof(arrays: Mapping[str, Array]) -> Proof:
    about = json.loads(str(arrays[ABOUT].item()))
    detector = about.get(DETECTIONS, {})
    proof = Proof(
        _named(arrays, INPUT),
        _named(arrays, OUTPUT),
        str(about["precision"]),
        str(about["origin"]),
        {str(name): float(value) for name, value in about["max_diff"].items()},
        float(about["min_agreement"]),
        str(about.get("classes", "")),
        float(detector.get("score_threshold", 0.0)),
        float(about.get("decides", 0.5)),
    )
    _check(proof)
    return proof


def _named(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    found = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    if not found:
        raise ValueError(f"it holds no {prefix}NAME")
    return found


def _check(proof: Proof) -> None:
    """Refuse what would pass any model, or leave outputs out."""
    if proof.origin not in ORIGINS:
        raise ValueError(f"its origin is {proof.origin!r}, expected {' or '.join(ORIGINS)}")
    every = {**proof.inputs, **proof.outputs}
    counts = {array.shape[0] if array.ndim else 0 for array in every.values()}
    if counts != {proof.rows} or not proof.rows:
        raise ValueError("its arrays are not as many rows of each input and output, one or more")
    if any(array.dtype.kind not in "biuf" for array in proof.outputs.values()):
        raise ValueError("an output holds no numbers")
    held = {DETECTIONS} if DETECTIONS in proof.max_diff else set()
    if held:
        _check_detections(proof)
    held |= proof.outputs.keys() - (set(DETECTED) if held else set())
    if held != proof.max_diff.keys() or not all(v >= 0 for v in proof.max_diff.values()):
        raise ValueError(f"its max_diff is not of {', '.join(sorted(held))}, each a number from 0")
    if proof.classes and (
        proof.classes not in held or proof.outputs[proof.classes].ndim != 2  # rows of classes
    ):
        raise ValueError(f"its classes, {proof.classes!r}, are no output of a row for each input")
    if proof.classes and np.isnan(proof.outputs[proof.classes]).any():
        raise ValueError(f"{proof.classes!r}, whose best classes are compared, holds NaN")
    if not 0 <= proof.min_agreement <= 1:
        raise ValueError(f"its min_agreement is {proof.min_agreement}, expected 0 to 1")
    floats = [array for array in proof.outputs.values() if array.dtype.kind == "f"]
    if len(floats) == len(proof.outputs) and all(np.isnan(array).all() for array in floats):
        raise ValueError("its outputs hold no number")


def _check_detections(proof: Proof) -> None:
    if not proof.outputs.keys() >= set(DETECTED):
        raise ValueError(f"a detector's outputs are {', '.join(DETECTED)}")
    shape = proof.outputs[SCORES].shape
    expected = {BOXES: (*shape, 4), SCORES: shape, CLASSES: shape, COUNT: shape[:1]}
    for name, size in expected.items():
        found = proof.outputs[name]
        if found.shape != size or len(shape) != 2 or not np.isfinite(found).all():  # [rows, most]
            raise ValueError(f"its {name} are not numbers {list(size)}")


def stale() -> str:
    """How an error begins that is about a proof and a model which do not fit each other."""
    return f"{FILE} is not of this model (delete it if the model was replaced)"
