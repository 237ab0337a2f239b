"""Reads the proof beside a model, inputs with the original's answers, and compares with it.

docs/model-repository.md describes the file. Knows no runtime.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crossrun_bench.errors import BenchError
from crossrun_bench.models.checked import CPU, Checked
from crossrun_bench.models.model import unscaled
from crossrun_bench.targets.runners import packed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from crossrun_bench.models.model import Model

    Array = NDArray[Any]

FILE = "proof.npz"
MOST_BYTES, MOST_UNPACKED = 1_000_000, 64_000_000
DETECTIONS = "detections"  # stands for a detector's four outputs
OVERLAP = 0.5  # of two boxes, from which on they may be of one object
# Of the CPU provider's answers to pictures of which no original's are known: so much, and so much
# of the largest number. In fp32 providers differ by a hundredth of it.
ABSOLUTE, RELATIVE = 1e-4, 1e-3


@dataclass(frozen=True)
class Proof:
    """Pictures, and what a runner should say of them."""

    pixels: NDArray[np.uint8]  # [pictures, H, W, 3]
    expected: Array  # [pictures, classes]; of a detector objects, as `packed`
    origin: str  # photographs or drawn
    max_diff: float
    min_agreement: float
    threshold: float | None  # of a detector, the least score; None for a classifier
    decides: float = 0.5  # from which on a single number speaks for the second of two classes


def read(model: Model) -> Proof | None:
    """The proof beside the model's file; None without one.

    BenchError where it is damaged or that of another model.
    """
    file = Path(model.onnx).with_name(FILE)
    if not file.exists():
        return None
    try:
        return _proof(_arrays(file), model)
    except Exception as error:  # whatever numpy, zipfile and zlib meet in the bytes
        told = " ".join(str(error).split())
        raise BenchError(f"{file}: no proof of this model ({told}); delete it to go on") from error


def _arrays(file: Path) -> dict[str, Array]:
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if file.stat().st_size > MOST_BYTES or unpacked > MOST_UNPACKED:
        raise ValueError(f"it is over {MOST_BYTES:,} bytes, or its arrays over {MOST_UNPACKED:,}")
    with np.load(file, allow_pickle=False) as stored:
        return dict(stored)


def _proof(arrays: dict[str, Array], model: Model) -> Proof:
    about = json.loads(str(arrays["about"].item()))
    outputs = {k.removeprefix("output/"): v for k, v in arrays.items() if k.startswith("output/")}
    given = arrays[f"input/{model.input_name}"]
    # Runners scale pixels themselves, as in what is measured.
    is_uint8 = model.input_type == "UINT8"
    pixels = given.astype(np.uint8, casting="equiv") if is_uint8 else unscaled(model, given)
    held = DETECTIONS if model.detector else model.output_name
    expected = packed(outputs) if model.detector else outputs[model.output_name]
    if expected.shape[0] != len(pixels) or not len(pixels) or not np.isfinite(expected).all():
        raise ValueError("expected as many numbers for each picture, and pictures")
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


def compared(proof: Proof, got: Array, tolerance: float | None) -> Checked:
    """How far answers to the proof's pictures, or to the first of them, are from the original's."""
    proof = replace(proof, expected=proof.expected[: len(got)])
    if got.shape != proof.expected.shape:
        raise BenchError(
            f"{FILE} has answers of {list(proof.expected.shape)}, got {list(got.shape)}"
        )
    if proof.threshold is None:
        difference, same = largest(proof.expected, got), _agreement(proof, got)
    else:
        difference, same = _detections(proof, got)
    allowed = proof.max_diff if tolerance is None else tolerance
    return Checked(proof.origin, len(got), difference, same, allowed)


def as_cpu(expected: Array, got: Array, tolerance: float | None, *, held: bool) -> Checked:
    """How far answers are from those of the CPU provider."""
    scale = float(np.abs(expected).max(initial=0.0))
    allowed = ABSOLUTE + RELATIVE * scale if held else None
    difference = largest(expected, got)
    return Checked(CPU, len(got), difference, None, allowed if tolerance is None else tolerance)


def largest(expected: Array, got: Array) -> float:
    """The largest difference of two numbers at one place; NaN where one is none."""
    return float(np.max(np.abs(expected.astype(np.float64) - got), initial=0.0))


def refusal(proof: Proof | None, found: Checked, *, told: bool) -> str | None:
    """Why nothing that answers so is measured; None where it may be.

    Whoever sets a tolerance, `told`, is not held to the agreement.
    """
    if found.allowed is None or found.difference is None:
        return None
    against = "the CPU provider" if found.against == CPU else "the original"
    how = "to measure it on purpose, in bf16, TF32 or fp16, allow more by --proof-tolerance"
    if not found.difference <= found.allowed:  # so that NaN fails too
        off = f"is off by {found.difference:.2g} from {against} on {found.pictures} pictures"
        return f"{off}, allowed is {found.allowed:.2g}: it computes something else; {how}"
    if proof and not told and (found.agreement or 0.0) < proof.min_agreement:
        return (
            f"gives the original's answers to {found.agreement or 0.0:.2%} of the proof, "
            f"required are {proof.min_agreement:.2%}; {how}"
        )
    return None


def _agreement(proof: Proof, got: Array) -> float:
    """Share of pictures whose best class is one of the original's, ties within max_diff aside.

    Of a single number a picture, which side of the one that decides it lies on.
    """
    expected, least = proof.expected, proof.decides
    if expected.shape[1] == 1:
        same = ((expected > least) == (got > least)) | (np.abs(expected - least) <= proof.max_diff)
        return float(same.mean())
    chosen = np.take_along_axis(expected, got.argmax(axis=1)[:, None], axis=1)[:, 0]
    return float((chosen >= expected.max(axis=1) - proof.max_diff).mean())


def _detections(proof: Proof, got: Array) -> tuple[float, float]:
    """The largest difference between objects that are alike, and the share of sure ones that are.

    Alike: of the same class, with boxes that overlap by OVERLAP. Sure: with a score over the least
    by more than the tolerance, the least being the threshold or the lowest of a full row.
    """
    if not np.isfinite(got).all():
        return float("nan"), 0.0
    differences, alike, sure = [0.0], 0, 0
    for mine, its in zip(proof.expected, got, strict=True):
        away = _away(mine[mine[:, 4] > 0], its[its[:, 4] > 0])
        for axis, side in ((1, mine), (0, its)):
            nearest = away.min(axis, initial=np.inf)[_sure(side, proof)]
            found = nearest[nearest < np.inf]
            differences += found.tolist()
            alike, sure = alike + len(found), sure + len(nearest)
    return max(differences), alike / sure if sure else 1.0


def _sure(side: Array, proof: Proof) -> NDArray[np.bool_]:
    scores = side[side[:, 4] > 0, 4]
    least = max(proof.threshold or 0.0, scores.min() if 0 < len(scores) == len(side) else 0.0)
    found: NDArray[np.bool_] = scores > least + proof.max_diff
    return found


def _away(mine: Array, its: Array) -> Array:
    """How far each object is from each, [mine, its]; infinitely, if they are not of one thing."""
    away = np.abs(mine[:, None].astype(np.float64) - its[None])
    unlike = (away[..., 5] > 0) | (_overlap(mine[:, None], its[None]) < OVERLAP)
    return np.where(unlike, np.inf, away[..., :5].max(axis=2))


def _overlap(one: Array, other: Array) -> Array:
    """Intersection over union of boxes ymin xmin ymax xmax."""
    low = np.maximum(one[..., :2], other[..., :2])
    high = np.minimum(one[..., 2:4], other[..., 2:4])
    common = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(boxes[..., 2:4] - boxes[..., :2], axis=-1) for boxes in (one, other)]
    share: Array = common / np.maximum(areas[0] + areas[1] - common, np.finfo(np.float64).tiny)
    return share
