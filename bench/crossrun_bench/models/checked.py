"""Compares answers with the original's, or with the CPU provider's. Knows no runtime."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.errors import BenchError
from crossrun_bench.models.boxes import OVERLAP, overlaps
from crossrun_bench.models.proof import FILE, Array, Proof

NOTHING, CPU = "nothing", "cpu"  # what answers may be compared with, beside those of a proof
# What answers may differ by from the CPU provider's: so much, and so much of the largest number.
# In fp32 providers differ by a hundredth of it.
ABSOLUTE, RELATIVE = 1e-4, 1e-3


@dataclass(frozen=True)
class Checked:
    """Answers to a few pictures, compared with others."""

    against: str  # photographs or drawn: the original's, in proof.npz; cpu: the CPU provider's
    pictures: int = 0
    difference: float | None = None  # the largest of a number; null if nothing was compared
    agreement: float | None = None  # the share of equal answers; null if there is no such share
    allowed: float | None = None  # the largest difference that is allowed; null without a limit


def compared(proof: Proof, got: Array, tolerance: float | None) -> Checked:
    """Compare answers to the proof's pictures, or to the first few, with the original's.

    Raises:
        BenchError: the answers have another shape.
    """
    proof = replace(proof, expected=proof.expected[: len(got)])
    if got.shape != proof.expected.shape:
        raise BenchError(
            f"{FILE} has answers of shape {list(proof.expected.shape)}, got {list(got.shape)}"
        )
    if proof.threshold is None:
        difference, same = largest(proof.expected, got), _agreement(proof, got)
    else:
        difference, same = _detections(proof, got)
    allowed = proof.max_diff if tolerance is None else tolerance
    return Checked(proof.origin, len(got), difference, same, allowed)


def as_cpu(expected: Array, got: Array, tolerance: float | None, *, held: bool) -> Checked:
    """Compare answers with the CPU provider's; `held` says whether there is a limit."""
    scale = float(np.abs(expected).max(initial=0.0))
    allowed = ABSOLUTE + RELATIVE * scale if held else None
    difference = largest(expected, got)
    return Checked(CPU, len(got), difference, None, allowed if tolerance is None else tolerance)


def largest(expected: Array, got: Array) -> float:
    """The largest difference between two numbers at the same place; NaN if one of them is NaN."""
    return float(np.max(np.abs(expected.astype(np.float64) - got), initial=0.0))


def refusal(proof: Proof | None, found: Checked, *, told: bool) -> str | None:
    """Why something that answers like this is not measured, or None if it may be.

    With a tolerance of the user's own, `told`, the agreement does not count.
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
            f"returns the original's answers for {found.agreement or 0.0:.2%} of the proof, "
            f"required are {proof.min_agreement:.2%}; {how}"
        )
    return None


def _agreement(proof: Proof, got: Array) -> float:
    """The share of pictures with the original's best class; a tie within max_diff counts.

    If a picture has a single number, the share on the original's side of `decides`.
    """
    expected, least = proof.expected, proof.decides
    if expected.shape[1] == 1:
        same = ((expected > least) == (got > least)) | (np.abs(expected - least) <= proof.max_diff)
        return float(same.mean())
    chosen = np.take_along_axis(expected, got.argmax(axis=1)[:, None], axis=1)[:, 0]
    return float((chosen >= expected.max(axis=1) - proof.max_diff).mean())


def _detections(proof: Proof, got: Array) -> tuple[float, float]:
    """The largest difference between matching objects, and the share of sure ones that match.

    Two objects match if they have the same class and their boxes overlap by OVERLAP. An object is
    sure if its score is above the lowest possible score by more than the tolerance: above the
    threshold, or above the last score of a full row.
    """
    if not np.isfinite(got).all():
        return float("nan"), 0.0
    differences, matching, sure = [0.0], 0, 0
    for mine, its in zip(proof.expected, got, strict=True):
        away = _away(mine[mine[:, 4] > 0], its[its[:, 4] > 0])
        for axis, side in ((1, mine), (0, its)):
            nearest = away.min(axis, initial=np.inf)[_sure(side, proof)]
            found = nearest[nearest < np.inf]
            differences += found.tolist()
            matching, sure = matching + len(found), sure + len(nearest)
    return max(differences), matching / sure if sure else 1.0


def _sure(side: Array, proof: Proof) -> NDArray[np.bool_]:
    scores = side[side[:, 4] > 0, 4]
    least = max(proof.threshold or 0.0, scores.min() if 0 < len(scores) == len(side) else 0.0)
    found: NDArray[np.bool_] = scores > least + proof.max_diff
    return found


def _away(mine: Array, its: Array) -> Array:
    """How far each object is from each other one, [mine, its]; infinite if they do not match."""
    away = np.abs(mine[:, None].astype(np.float64) - its[None])
    unlike = (away[..., 5] > 0) | (overlaps(mine[:, None], its[None]) < OVERLAP)
    return np.where(unlike, np.inf, away[..., :5].max(axis=2))
