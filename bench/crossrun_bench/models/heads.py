"""Turns a classifier's scores into probabilities, by what its metadata says that they are."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.models.model import Model, Probabilities

HEADS = ("softmax", "sigmoid", "binary", "logits", "sigmoid-logits", "binary-logits")
BINARY = ("binary", "binary-logits")  # one score, for the second of two classes
BY_CLASS = ("sigmoid", "sigmoid-logits")  # each class is present or not, whatever the others are


def classes(model: Model) -> int:
    """How many classes a model distinguishes."""
    return 2 if model.head in BINARY else model.classes


def probabilities(model: Model, scores: NDArray[Any]) -> Probabilities:
    """Probabilities FP32 [pictures, classes] from the model's scores [pictures, scores]."""
    found = scores.astype(np.float64)
    if model.head == "logits":
        powers = np.exp(found - found.max(axis=1, keepdims=True))
        found = powers / powers.sum(axis=1, keepdims=True)
    elif model.head.endswith("logits"):
        found = np.exp(-np.logaddexp(0, -found))
    if model.head in BINARY:
        found = np.concatenate([1 - found, found], axis=1)
    return found.astype(np.float32)


def decided_alike(
    model: Model, said: Probabilities, reference: Probabilities
) -> NDArray[np.bool_] | None:
    """For which pictures two targets find the same classes present, [pictures].

    If no class is present, the best class counts. None for a model whose best class decides.
    """
    if model.head not in BY_CLASS:
        return None
    there = reference >= 0.5
    alike = (there == (said >= 0.5)).all(axis=1)
    best = said.argmax(axis=1) == reference.argmax(axis=1)
    found: NDArray[np.bool_] = alike & (best | there.any(axis=1))
    return found
