"""What a classifier's scores are, and what it decides by them.

The graph tells if its last operation is an activation. The scores tell if they are probabilities
that sum to 1. If neither tells, the caller has to.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from crossrun_export.errors import ExportError
from crossrun_export.graph import Graph, rewire
from crossrun_export.options import HEADS, HeadKind
from crossrun_export.runtime import Scores

ACTIVATIONS = {"Softmax": "softmax", "LogSoftmax": "logits", "Sigmoid": "sigmoid"}
# Of a tensor of scores these change the shape or the type, and no score's meaning.
RESHAPING = (
    *("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"),
    *("QuantizeLinear", "DequantizeLinear"),
)
BINARY: tuple[HeadKind, ...] = ("binary", "binary-logits")
BY_CLASS: tuple[HeadKind, ...] = ("sigmoid", "sigmoid-logits")  # each class is decided on its own
SUM_TOLERANCE = 5e-3  # of probabilities that are to sum to 1, in half precision at worst
RANGE_TOLERANCE = 1e-3
LEAST_CHANGE = 1e-5  # of scores from picture to picture; less is none


@dataclass(frozen=True)
class Head:
    """What the scores are, and how that is known."""

    kind: HeadKind
    because: str

    @property
    def output(self) -> str:
        """What an output of such scores is called."""
        return "logits" if self.kind.endswith("logits") else "probabilities"


@dataclass(frozen=True)
class Said:
    """What is said of the scores."""

    asked: HeadKind | None = None  # by the caller
    loss: str = ""  # Keras's name of the loss on logits that the model was trained with
    step: float = 0.0  # to which the scores are rounded, where they are


NOTHING = Said()


def find(
    model: onnx.ModelProto,
    output: str,
    scores: Scores,
    names: Sequence[str],
    said: Said = NOTHING,
) -> Head:
    """Find out what a classifier's scores are.

    Args:
        model: the exported one.
        output: which of its outputs.
        scores: the original's on some pictures, [count, classes].
        names: of the pictures.
        said: what is said of them.

    Raises:
        ExportError: it cannot be told, or the caller says what is not so.
    """
    asked = said.asked
    _check_numbers(scores, names)
    told = _told_by_graph(model, output, scores)
    if (
        told is None or _wrong(told.kind, scores, said.step).any()
    ):  # as of a softmax along another axis
        told = _told_by_scores(scores, asked)
    if asked and told and asked != told.kind:
        raise ExportError(f"--scores {asked}, but {told.because}: expected {told.kind}")
    head = told or _told_by_caller(asked) or _told_by_loss(said.loss, scores)
    if head is None:
        raise ExportError(_untold(scores))
    _check(head, scores, names, said.step)
    return head


def rename(model: onnx.ModelProto, old: str, new: str) -> None:
    """Give an output another name."""
    if old == new:
        return
    for node in model.graph.node:
        node.output[:] = [new if name == old else name for name in node.output]
    rewire(model.graph.node, old, new)
    for value in model.graph.output:
        value.name = new if value.name == old else value.name


def ranked(scores: Scores, kind: HeadKind) -> Scores:
    """Scores [count, classes] to rank classes by; two of each where one stands for two classes."""
    if kind == "binary":
        return np.concatenate([1 - scores, scores], axis=1)
    return np.concatenate([-scores, scores], axis=1) if kind == "binary-logits" else scores


def probabilities(scores: Scores, kind: HeadKind) -> Scores:
    """What scores say of each class, 0 to 1: [count, classes], of two where one stands for both."""
    found = scores.astype(np.float64)
    if kind == "logits":
        powers = np.exp(found - found.max(axis=1, keepdims=True))
        found = powers / powers.sum(axis=1, keepdims=True)
    elif kind.endswith("logits"):
        found = np.exp(-np.logaddexp(0, -found))
    if kind in BINARY:
        found = np.concatenate([1 - found, found], axis=1)
    return found.astype(np.float32)


def deciding(kind: HeadKind) -> float:
    """The score from which on a class that is decided on its own is said to be there."""
    return 0.0 if kind.endswith("logits") else 0.5


def _told_by_graph(model: onnx.ModelProto, output: str, scores: Scores) -> Head | None:
    operation, single = _last_operation(model, output), scores.shape[1] == 1
    kind = ACTIVATIONS.get(operation)
    if kind is None:
        return None
    because = f"its last operation is {operation}"
    if single and kind != "sigmoid":
        raise ExportError(f"{because} over one class, which gives the same whatever it sees")
    return Head("binary" if single else kind, because)  # type: ignore[arg-type]


def _last_operation(model: onnx.ModelProto, output: str) -> str:
    graph = Graph(model)
    while (node := graph.makers.get(output)) and node.op_type in RESHAPING:
        output = node.input[0]
    return node.op_type if node else ""


def _told_by_scores(scores: Scores, asked: HeadKind | None) -> Head | None:
    """Nothing, where the same scores come for all pictures: by chance they may sum to 1."""
    if asked == "sigmoid" or scores.shape[1] == 1 or are_alike(scores):
        return None
    if not _wrong("softmax", scores).any():
        return Head("softmax", f"its scores sum to 1 on each of {len(scores)} pictures")
    return None


def _told_by_caller(asked: HeadKind | None) -> Head | None:
    return Head(asked, "--scores says so") if asked else None


def _told_by_loss(loss: str, scores: Scores) -> Head | None:
    single = scores.shape[1] == 1
    if not loss or (single and not loss.startswith("Binary")):
        return None
    by_class: HeadKind = "binary-logits" if single else "sigmoid-logits"
    kind = by_class if loss.startswith("Binary") else "logits"
    return Head(kind, f"it was trained with {loss}(from_logits=True)")


def _untold(scores: Scores) -> str:
    """What to say where nothing tells."""
    single, between = scores.shape[1] == 1, not _wrong("sigmoid", scores).any()
    seen = f"from {scores.min():.3g} to {scores.max():.3g} on {len(scores)} pictures"
    if single:
        expected = (
            "binary (the probability of the second of two classes)"
            if between
            else "binary-logits (of the second of two classes: a sigmoid is missing)"
        )
        return f"what its one score means cannot be told: {seen}; --scores says it: {expected}"
    expected = (
        "sigmoid (a probability for each class)"
        if between
        else "logits (a softmax is missing) or sigmoid-logits (a sigmoid for each class is missing)"
    )
    why = "and do not sum to 1" if between else "and are no probabilities"
    if not _wrong("softmax", scores).any():  # then they are alike
        why = "and the same for all"
        expected = f"softmax (probabilities that sum to 1) or {expected}"
    return (
        f"what its scores mean cannot be told: they are {seen} {why}; --scores says it: {expected}"
    )


def are_alike(scores: Scores) -> bool:
    """Whether all pictures have the same scores, so that these say little of the model."""
    return bool(np.ptp(scores, axis=0).max() <= LEAST_CHANGE)


def _check_numbers(scores: Scores, names: Sequence[str]) -> None:
    wrong = np.isnan(scores).any(axis=1)
    if wrong.any():
        raise ExportError(f"a score of {names[int(wrong.argmax())]} is no number")


def _check(head: Head, scores: Scores, names: Sequence[str], step: float) -> None:
    """Hold what the scores are said to be against those seen."""
    classes = scores.shape[1]
    if (classes == 1) != (head.kind in BINARY):
        fitting = [kind for kind in HEADS if (kind in BINARY) == (classes == 1)]
        raise ExportError(
            f"--scores {head.kind}, but it gives {classes} score{'s' * (classes > 1)} for a "
            f"picture: expected one of {', '.join(fitting)}"
        )
    wrong = _wrong(head.kind, scores, step)
    if wrong.any():
        place = int(wrong.argmax())
        row = scores[place]
        raise ExportError(
            f"its scores are no {head.kind} ({head.because}): those of {names[place]} are from "
            f"{row.min():.3g} to {row.max():.3g} and sum to {row.sum():.4g}"
        )


def _wrong(kind: HeadKind, scores: Scores, step: float = 0.0) -> NDArray[np.bool_]:
    """On which pictures scores are not what they are said to be, [count]; each may be rounded."""
    if kind.endswith("logits"):
        return np.zeros(len(scores), np.bool_)
    inside: NDArray[np.bool_] = (scores >= -RANGE_TOLERANCE) & (scores <= 1 + RANGE_TOLERANCE)
    outside = np.logical_not(inside.all(axis=1))
    if kind != "softmax":
        return outside
    off = SUM_TOLERANCE + scores.shape[1] * step / 2
    unlike: NDArray[np.bool_] = outside | (np.abs(scores.sum(axis=1) - 1) > off)
    return unlike
