"""How a model classifies pictures: which of its outputs are scores, and which classes are best.

Knows arrays and the model's configuration; no messages, no codecs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossrun_server.errors import InvalidRequest
from crossrun_server.model_config.probabilities import probabilities, untold
from crossrun_server.model_config.scores import DATATYPES, OUTPUT, RESHAPED, may_be_scores
from crossrun_server.models.model import Model
from crossrun_server.tensors.tensor_spec import TensorSpec
from crossrun_server.vision import image_input
from crossrun_server.vision.image_input import ImageInput
from crossrun_server.vision.pipeline import Prediction


@dataclass(frozen=True)
class ScoredClass:
    """A class of a picture; without labels its index stands for its label."""

    index: int
    label: str
    score: float


@dataclass(frozen=True)
class Classifier:
    """How pictures go into a model and scores come out of one of its outputs."""

    input: ImageInput
    output: str
    head: str | None  # what its scores are; see `probabilities`

    def classes(
        self, predictions: Sequence[Prediction], top_k: int, min_score: float
    ) -> list[list[ScoredClass]]:
        """Choose the best classes of each picture; see `best`.

        Raises:
            InvalidRequest: the scores are not what `head` says, or no probabilities.
            WrongLabels: the output has more or fewer labels than scores.
        """
        raw = np.array([prediction[self.output] for prediction in predictions])
        scores = probabilities(raw, self.head)
        labels = self.input.model.names(self.output, scores.shape[1:])
        return [
            [
                ScoredClass(i, labels[i] if labels else str(i), float(row[i]))
                for i in best(row, top_k, min_score)
            ]
            for row in scores
        ]


def describe(model: Model) -> Classifier:
    """Find out how a model classifies pictures.

    Raises:
        InvalidRequest: it takes no pictures, has no output of scores, or has several outputs
            that may be scores, or does not say how pixels scale or what the scores are.
    """
    pictures, said = image_input.describe(model), model.config.scores
    output = said.output or _scores_output(model)
    if said.head is None and output in said.doubts:
        raise untold(f"{model.name!r}", f"those of its first run were {said.doubts[output]}")
    return Classifier(pictures, output, said.head)


def best(scores: NDArray[np.float32], top_k: int, min_score: float) -> list[int]:
    """Return the indices of the highest scores, best first; of equals the lower index first.

    Args:
        scores: FP32 [classes].
        top_k: how many at most.
        min_score: the least score that counts.
    """
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [int(index) for index in order if scores[index] >= min_score]


def _scores_output(model: Model) -> str:
    """The only output that can be scores; if there are several, the only one with labels."""
    found = [s.name for s in model.outputs.values() if may_be_scores(s) and _is_classes(model, s)]
    named = [name for name in found if name in model.labels] or found
    if len(named) == 1:
        return named[0]
    if named:
        raise InvalidRequest(
            f"{model.name!r} has several outputs that may be scores: {', '.join(named)}; "
            f"parameters {OUTPUT!r} in config.pbtxt says which, or the only label_filename"
        )
    if model.config.detection_outputs:
        raise InvalidRequest(f"{model.name!r} finds objects and classifies no pictures; use Detect")
    raise InvalidRequest(
        f"{model.name!r} returns no scores [batch, classes] of {', '.join(DATATYPES)}; use "
        f"ModelInfer, or {RESHAPED}"
    )


def _is_classes(model: Model, spec: TensorSpec) -> bool:
    """An output of a detector is classes only if it has labels and is no part of a detection."""
    found = model.config.detection_outputs
    return found is None or (spec.name in model.labels and spec.name not in found.names)
