"""What the scores of a classifier are, and how they become probabilities of its classes.

`parameters` in config.pbtxt say it, or the ONNX file's own metadata. Knows arrays; no requests.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun.oip import model_config_pb2 as pb
from crossrun_server.errors import InvalidRequest, LoadError
from crossrun_server.tensors.tensor_spec import Array, TensorSpec

SCORES, OUTPUT = "scores", "scores.output"  # keys of `parameters`
METADATA = "crossrun.scores"
DATATYPES = ("FP16", "FP32", "FP64")
HEADS = ("softmax", "sigmoid", "binary", "logits", "sigmoid-logits", "binary-logits")
BINARY = ("binary", "binary-logits")  # one score, which speaks for the second of two classes
SAYS = f"parameters {SCORES!r} in config.pbtxt says it: one of {', '.join(HEADS)}"
RESHAPED = (
    "reshape in config.pbtxt gives this shape to an output of another, such as "
    "dims: [ 10 ] reshape { shape: [ 1, 1, 10 ] }"
)
# How far rounding, in half precision at worst, may bring a sum of probabilities from 1.
SUM_TOLERANCE, RANGE_TOLERANCE = 0.01, 0.001

Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class ScoresConfig:
    """What is said of the scores: by config.pbtxt, by the file, or by both."""

    head: str | None = None  # one of HEADS; None where nobody says it
    output: str | None = None  # which output they are; None where nobody says it
    doubts: Mapping[str, str] = field(default_factory=dict)  # output → what is no `softmax`


UNTOLD = ScoresConfig()


def understands(key: str) -> bool:
    """Whether a key of `parameters` says what scores are."""
    return key in (SCORES, OUTPUT)


def read(proto: pb.ModelConfig, outputs: Sequence[TensorSpec]) -> ScoresConfig:
    """What config.pbtxt says of the scores.

    Raises:
        LoadError: it says what cannot be of a model with these outputs.
    """
    given = {key: proto.parameters[key].string_value for key in (SCORES, OUTPUT)
             if key in proto.parameters}  # fmt: skip
    head, output = given.get(SCORES), given.get(OUTPUT)
    if head is not None and head not in HEADS:
        raise LoadError(f"parameters {SCORES!r} is {head!r}, expected one of {', '.join(HEADS)}")
    candidates = {spec.name: spec for spec in outputs if may_be_scores(spec)}
    if output is not None and output not in candidates:
        raise LoadError(
            f"parameters {OUTPUT!r} is {output!r}, expected an output of {', '.join(DATATYPES)} "
            f"[batch, classes]; the model has {', '.join(candidates) or 'none'}"
        )
    return ScoresConfig(head, output)


def settle(declared: ScoresConfig, metadata: Mapping[str, str]) -> ScoresConfig:
    """What config.pbtxt and the file say together.

    Raises:
        LoadError: they contradict each other, or the file says what this server does not know.
    """
    own = _of_file(metadata)
    if own.head is None or (declared.output or own.output) != own.output:
        return ScoresConfig(declared.head, declared.output or own.output)
    if declared.head not in (None, own.head):
        raise LoadError(
            f"parameters {SCORES!r} is {declared.head!r}, but the file's metadata {METADATA} says "
            f"{own.head!r}; leave the parameter out"
        )
    return own


def check(
    scores: ScoresConfig, outputs: Sequence[TensorSpec], labels: Mapping[str, Sequence[str]]
) -> None:
    """Hold what is said of the scores against the output that they are.

    Raises:
        LoadError: there is no such output, or it has too few or too many scores for such a head
            or for its labels.
    """
    found = [s for s in outputs if may_be_scores(s) and scores.output in (None, s.name)]
    if scores.head and not found:
        name = f"{scores.output!r} " if scores.output else ""
        raise LoadError(
            f"the scores are said to be {scores.head!r}, but the model has no output "
            f"{name}of {', '.join(DATATYPES)} [batch, classes]; {RESHAPED}"
        )
    if scores.head is None or len(found) > 1:
        return
    (spec,) = found
    width, names = spec.shape[1], labels.get(spec.name, ())
    if width > 0 and (width == 1) != (scores.head in BINARY):
        raise LoadError(f"output {spec.name!r} has {width} scores, which are no {scores.head!r}")
    if scores.head in BINARY and names and len(names) != 2:
        raise LoadError(
            f"output {spec.name!r} is one score, {scores.head!r}, for two classes; "
            f"expected 2 labels, got {len(names)}"
        )


def may_be_scores(spec: TensorSpec) -> bool:
    """Whether an output may be scores of classes: floats [batch, classes]."""
    return spec.datatype in DATATYPES and len(spec.shape) == 2


def doubts(outputs: Sequence[TensorSpec], answers: Mapping[str, Array]) -> dict[str, str]:
    """Say of outputs what was seen in answers that are no probabilities which sum to 1.

    Logits of one picture may sum to 1 by chance: those of another tell that they are logits. What
    is zero or no number, as the shares of a black picture may be, says nothing.
    """
    named = (spec.name for spec in outputs if may_be_scores(spec) and spec.name in answers)
    rows = [
        (name, row.astype(np.float64)) for name in named for row in np.atleast_1d(answers[name])
    ]
    return {name: _seen(row) for name, row in rows if _speaks(row) and not _tells(row)}


def untold(where: str, seen: str) -> InvalidRequest:
    """The error of scores that nobody says what they are."""
    return InvalidRequest(f"{where}: nothing tells what its scores are: {seen}; {SAYS}")


def probabilities(scores: Array, head: str | None) -> Probabilities:
    """Make probabilities of scores [pictures, classes].

    Args:
        scores: floats.
        head: one of HEADS; None where nobody says what they are: then they have to be
            probabilities that sum to 1.

    Returns:
        FP32 [pictures, classes]; [pictures, 2] of a binary head.

    Raises:
        InvalidRequest: they are not what `head` says, or nobody says it and they do not tell.
    """
    given = scores.astype(np.float64)
    if head is None:
        _check_telling(given)
    elif (given.shape[1] == 1) != (head in BINARY):
        raise InvalidRequest(f"{given.shape[1]} scores for a picture are no {head!r}")
    found = _MADE.get(head or "softmax", _as_they_are)(given)
    _check_range(found, head)
    if head == "softmax":
        _check_sums(found)
    return found.astype(np.float32)


def _of_file(metadata: Mapping[str, str]) -> ScoresConfig:
    if METADATA not in metadata:
        return ScoresConfig()
    try:
        said: dict[str, Any] = json.loads(metadata[METADATA])
        head, output = said["head"], said.get("output")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LoadError(f"the file's metadata {METADATA} cannot be read: {error}") from error
    if head not in HEADS:
        raise LoadError(
            f"the file's metadata {METADATA} has the head {head!r}, expected one of "
            f"{', '.join(HEADS)}"
        )
    return ScoresConfig(head, output)


def _check_telling(scores: NDArray[np.float64]) -> None:
    """Without a word on what they are, only probabilities that sum to 1 speak for themselves."""
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
                f"images[{place}]: its scores are no {head or 'probabilities'!r}: from "
                f"{row.min():.4g} to {row.max():.4g}, expected probabilities from 0 to 1"
            )


def _check_sums(found: NDArray[np.float64]) -> None:
    for place, row in enumerate(found):
        if abs(row.sum() - 1) > SUM_TOLERANCE:
            raise InvalidRequest(
                f"images[{place}]: its scores are no 'softmax': they sum to {row.sum():.4g}, "
                f"expected 1; parameters {SCORES!r} in config.pbtxt may say another of "
                f"{', '.join(HEADS)}"
            )


def in_range(row: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which numbers may be probabilities, but for rounding; NaN may not."""
    return (row >= -RANGE_TOLERANCE) & (row <= 1 + RANGE_TOLERANCE)


def _as_they_are(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return scores


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # of infinite logits; they are found out afterwards
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    found: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return found


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), exact and without overflow for any x."""
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
