"""The proof beside a model: inputs, the original's answers, and how far off answers may be.

The export writes the file; docs/model-repository.md describes it. Knows arrays. Runs nothing.
"""

import json
import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from crossrun_server.errors import LoadError
from crossrun_server.tensors.tensor_spec import Array

FILE = "proof.npz"
MOST_BYTES = 1_000_000  # of the file
MOST_UNPACKED = 64_000_000  # bytes of its arrays
ABOUT, INPUT, OUTPUT = "about", "input/", "output/"
DIGEST = re.compile("[0-9a-f]{64}")
ORIGINS = PHOTOGRAPHS, DRAWN = ("photographs", "drawn")
DETECTIONS = "detections"  # stands for the four outputs of a detector, which are compared together
BOXES, SCORES, CLASSES, COUNT = DETECTED = (
    "detection_boxes", "detection_scores", "detection_classes", "num_detections"
)  # fmt: skip


@dataclass(frozen=True)
class Proof:
    """Arrays by the graph's names, pictures first; NaN in an output is not compared."""

    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    precision: str  # fp32, int8, fp16
    origin: str  # one of ORIGINS
    max_diff: Mapping[str, float]  # of any number of an output; of DETECTIONS for all four
    min_agreement: float  # share of answers that must be the same
    classes: str = ""  # the output whose best class is compared; empty for none
    threshold: float = 0.0  # the least score of a detector
    decides: float = 0.5  # a single number above this stands for the second of two classes
    sha256: Mapping[str, str] = field(default_factory=dict)  # of files beside the proof, in hex

    @property
    def rows(self) -> int:
        """The number of pictures."""
        return len(next(iter(self.inputs.values())))

    @property
    def wanted(self) -> tuple[str, ...]:
        """The outputs to ask for."""
        return tuple(self.outputs)


def read(file: Path) -> Proof | None:
    """Read the proof beside a model's file; None if there is none.

    Raises:
        LoadError: it is damaged, too large, or not a proof.
    """
    path = file.with_name(FILE)
    if not path.exists():
        return None
    try:
        return _proof(_arrays(path))
    except Exception as error:  # whatever numpy, zipfile and zlib meet in the bytes
        reason = " ".join(str(error).split())
        raise LoadError(
            f"{FILE} is not a readable proof: {reason}; expected what crossrun-export writes, "
            "or no such file"
        ) from error


def tolerance(text: str, option: str) -> float:
    """Read the largest allowed difference from text.

    Args:
        text: a number, 0 or more.
        option: where the text comes from, for the error.

    Raises:
        LoadError: it is not such a number.
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
        inputs=_named(arrays, INPUT),
        outputs=_named(arrays, OUTPUT),
        precision=str(about["precision"]),
        origin=str(about["origin"]),
        max_diff={str(name): float(value) for name, value in about["max_diff"].items()},
        min_agreement=float(about["min_agreement"]),
        classes=str(about.get("classes", "")),
        threshold=float(detector.get("score_threshold", 0.0)),
        decides=float(about.get("decides", 0.5)),
        sha256=dict(about.get("sha256", {})),
    )
    _check(proof)
    return proof


def _named(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    found = {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}
    if not found:
        raise ValueError(f"it holds no {prefix}NAME")
    return found


def _check(proof: Proof) -> None:
    """Raise ValueError for a proof that any model would pass, or that leaves outputs out."""
    if proof.origin not in ORIGINS:
        raise ValueError(f"its origin is {proof.origin!r}, expected {' or '.join(ORIGINS)}")
    _check_rows(proof)
    if any(array.dtype.kind not in "biuf" for array in proof.outputs.values()):
        raise ValueError("an output holds no numbers")
    if DETECTIONS in proof.max_diff:
        _check_detections(proof)
    held = _held(proof)
    if held != proof.max_diff.keys() or not all(v >= 0 for v in proof.max_diff.values()):
        raise ValueError(f"its max_diff is not of {', '.join(sorted(held))}, each a number from 0")
    if proof.classes:
        _check_classes(proof, held)
    if not all(DIGEST.fullmatch(str(digest)) for digest in proof.sha256.values()):
        raise ValueError("its sha256 are not 64 hexadecimal digits for each file")
    if not 0 <= proof.min_agreement <= 1:
        raise ValueError(f"its min_agreement is {proof.min_agreement}, expected 0 to 1")
    if all(array.dtype.kind == "f" and np.isnan(array).all() for array in proof.outputs.values()):
        raise ValueError("its outputs hold no number")


def _check_rows(proof: Proof) -> None:
    every = {**proof.inputs, **proof.outputs}
    counts = {array.shape[0] if array.ndim else 0 for array in every.values()}
    if counts != {proof.rows} or not proof.rows:
        raise ValueError("its arrays are not as many rows of each input and output, one or more")


def _held(proof: Proof) -> set[str]:
    """Return the names that need a largest difference."""
    if DETECTIONS not in proof.max_diff:
        return set(proof.outputs)
    return {DETECTIONS} | (proof.outputs.keys() - set(DETECTED))


def _check_classes(proof: Proof, held: set[str]) -> None:
    if proof.classes not in held or proof.outputs[proof.classes].ndim != 2:  # rows of classes
        raise ValueError(
            f"its classes, {proof.classes!r}, are not an output with a row for each input"
        )
    if np.isnan(proof.outputs[proof.classes]).any():
        raise ValueError(f"{proof.classes!r}, whose best classes are compared, holds NaN")


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
    """Return the beginning of an error about a proof that does not fit its model."""
    return f"{FILE} is not of this model (delete it if the model was replaced)"
