"""Probabilities of classes from a classifier's scores. Knows arrays; knows no requests."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from crossrun_server.errors import InvalidRequest
from crossrun_server.model_config.scores import BINARY, HEADS, SCORES, may_be_scores
from crossrun_server.tensors.tensor_spec import Array, TensorSpec

SAYS = f"parameters {SCORES!r} in config.pbtxt says it: one of {', '.join(HEADS)}"
# How far rounding, in half precision at worst, may move a sum of probabilities away from 1, and a
# single one out of 0 to 1.
SUM_TOLERANCE, RANGE_TOLERANCE = 0.01, 0.001

Probabilities = NDArray[np.float32]


def doubts(outputs: Sequence[TensorSpec], answers: Mapping[str, Array]) -> dict[str, str]:
    """Say which outputs are not probabilities that sum to 1, and what was seen in their answers.

    The logits of one picture may sum to 1 by chance, but those of another will not. Rows of zeros
    or NaN, as a black picture may have, say nothing.
    """
    named = (spec.name for spec in outputs if may_be_scores(spec) and spec.name in answers)
    rows = [
        (name, row.astype(np.float64)) for name in named for row in np.atleast_1d(answers[name])
    ]
    return {name: _seen(row) for name, row in rows if _speaks(row) and not _tells(row)}


def untold(where: str, seen: str) -> InvalidRequest:
    """Make the error for scores whose head is unknown."""
    return InvalidRequest(f"{where}: nothing tells what its scores are: {seen}; {SAYS}")


def probabilities(scores: Array, head: str | None) -> Probabilities:
    """Turn scores [pictures, classes] into probabilities.

    Args:
        scores: floats.
        head: one of HEADS. None if it is unknown; then they must be probabilities that sum to 1.

    Returns:
        FP32 [pictures, classes]; [pictures, 2] for a binary head.

    Raises:
        InvalidRequest: they are not what `head` says, or it is unknown and cannot be guessed.
    """
    given = scores.astype(np.float64)
    if head is None:
        _check_telling(given)
    elif (given.shape[1] == 1) != (head in BINARY):
        raise InvalidRequest(f"{given.shape[1]} scores for a picture are not {head!r}")
    found = activated(given, head)
    _check_range(found, head)
    if head == "softmax":
        _check_sums(found)
    return found.astype(np.float32)


def activated(scores: Array, head: str | None) -> Array:
    """Apply what comes after scores [rows, classes] before a softmax or a sigmoid."""
    return _MADE.get(head or "softmax", _as_they_are)(scores)


def in_range(row: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which numbers may be probabilities, apart from rounding; NaN may not."""
    return (row >= -RANGE_TOLERANCE) & (row <= 1 + RANGE_TOLERANCE)


def _check_telling(scores: NDArray[np.float64]) -> None:
    """Let only probabilities that sum to 1 pass: any other scores need a head."""
    if scores.shape[1] == 1:
        raise InvalidRequest(f"nothing tells what one score for a picture means; {SAYS}")
    for place, row in enumerate(scores):
        if not _tells(row):
            raise untold(f"images[{place}]", _seen(row))


def _speaks(row: NDArray[np.float64]) -> bool:
    return row.size > 1 and bool(np.isfinite(row).all() and row.any())


def _tells(row: NDArray[np.float64]) -> bool:
    return bool(in_range(row).all() and abs(row.sum() - 1) <= SUM_TOLERANCE)


def _seen(row: NDArray[np.float64]) -> str:
    return f"from {row.min():.4g} to {row.max():.4g}, their sum {row.sum():.4g}"


def _check_range(found: NDArray[np.float64], head: str | None) -> None:
    for place, row in enumerate(found):
        if not in_range(row).all():  # NaN is in no range
            raise InvalidRequest(
                f"images[{place}]: its scores are not {head or 'probabilities'!r}: from "
                f"{row.min():.4g} to {row.max():.4g}, expected probabilities from 0 to 1"
            )


def _check_sums(found: NDArray[np.float64]) -> None:
    for place, row in enumerate(found):
        if abs(row.sum() - 1) > SUM_TOLERANCE:
            raise InvalidRequest(
                f"images[{place}]: its scores are not 'softmax': they sum to {row.sum():.4g}, "
                f"expected 1; parameters {SCORES!r} in config.pbtxt may say another of "
                f"{', '.join(HEADS)}"
            )


def _as_they_are(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return scores


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # of infinite logits; the range check finds them
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return found


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute 1 / (1 + exp(-x)), exactly and without overflow for any x."""
    found: NDArray[np.float64] = np.exp(-np.logaddexp(0, -logits))
    return found


def _two(second: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([1 - second, second], axis=1)


def _two_of_logits(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return _sigmoid(np.concatenate([-logits, logits], axis=1))


_MADE = {
    "binary": _two,
    "logits": _softmax,
    "sigmoid-logits": _sigmoid,
    "binary-logits": _two_of_logits,
}
