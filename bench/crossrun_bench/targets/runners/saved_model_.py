"""A SavedModel on TensorFlow, by its signature: the original, or what Keras exported."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from crossrun_bench.errors import BenchError
from crossrun_bench.models.answering import answers
from crossrun_bench.models.layouts import Outputs
from crossrun_bench.models.model import Model, Objects, Probabilities
from crossrun_bench.pictures.pictures import Batch
from crossrun_bench.targets.task import Task

_SERVING = "serving_default"


class SavedModel:
    """One signature; it scales in numpy, and asks for a picture at a time if the signature does."""

    def __init__(self, task: Task) -> None:
        original = task.model.original
        self._model = task.model
        self._loaded = tf.saved_model.load(task.file)  # keep it, it holds the weights
        self._call = _signature(self._loaded, task.file, original.signature or _SERVING)
        specs = self._call.structured_input_signature[1]
        self._input = original.input or next(iter(specs))
        self._single = specs[self._input].shape[0] == 1

    def run(self, batch: Batch) -> Probabilities | Objects:
        """Scale, call the graph, and read its outputs."""
        return answers(self._model, batch.pixels, self._ask, single=self._single)

    def _ask(self, given: NDArray[Any]) -> Outputs:
        said = self._call(**{self._input: tf.constant(given)})
        return {name: np.asarray(tensor) for name, tensor in said.items()}


def _signature(loaded: Any, folder: str, name: str) -> Any:
    if name not in loaded.signatures:
        names = ", ".join(loaded.signatures) or "none"
        raise BenchError(f"{folder}: expected a signature '{name}', got {names}")
    return loaded.signatures[name]


def tflite(model: Model, output: str) -> None:
    """Write the original as a TFLite file `output`; see `convert`."""
    keys = [model.original.signature or _SERVING]
    convert(tf.lite.TFLiteConverter.from_saved_model(model.original.file, keys), model, output)


def convert(converter: Any, model: Model, output: str) -> None:
    """Write a TFLite file, float32, without optimizations that would change answers.

    Raises:
        BenchError: LiteRT has no such operations.
    """
    try:
        converted = converter.convert()
    except Exception as error:  # TensorFlow has a class of its own for it, which is not public
        raise BenchError(f"{model.original.file} is not to be had in LiteRT: {error}") from error
    Path(output).write_bytes(converted)
