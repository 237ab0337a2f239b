"""What the export of a classifier asks of the model it starts from, whatever runs that."""

from typing import Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

from crossrun_export.options import Computes, InputDtype
from crossrun_export.provenance import Provenance
from crossrun_export.runtime import Scores
from crossrun_export.scaling import Preprocessing, Scaling


class Classifier(Protocol):
    """An image classifier as it was found."""

    @property
    def name(self) -> str:
        """The model's own."""

    @property
    def runtime(self) -> str:
        """What answers, in the words that a person is told."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Of its classes, in order; empty where none are known."""

    @property
    def wordnet_ids(self) -> tuple[str, ...]:
        """Of its classes, where they are ImageNet's."""

    @property
    def loss(self) -> str:
        """On logits, which it was trained with; empty where that is not known."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input, pixels."""

    @property
    def classes(self) -> int:
        """How many scores it has."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What it takes of pixels."""

    @property
    def computes(self) -> Computes:
        """The coarsest that it computes in."""

    @property
    def answers_in(self) -> Computes:
        """The coarsest that it computes or answers in."""

    def answer(self, pixels: NDArray[np.uint8], scaling: Scaling) -> Scores:
        """The scores [count, classes] of pixels [count, height, width, 3], scaled in a way."""

    def to_onnx(self, input_dtype: InputDtype) -> onnx.ModelProto:
        """The same model from `image` [batch, height, width, 3] to `probabilities` FP32.

        Raises:
            ExportError: it cannot be converted.
        """

    def made_from(self) -> Provenance:
        """What is kept of it."""
