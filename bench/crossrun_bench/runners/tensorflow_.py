"""The source Keras model on TensorFlow, in the two ways that people call it.

Both take uint8 pixels and scale them within the timed work, as the served model does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from typing import Any

    from crossrun_bench.model import Model
    from crossrun_bench.pictures import Batch
    from crossrun_bench.runners import Probabilities, Task


def _source(model: Model) -> Any:
    return keras.models.load_model(model.keras, compile=False)


class KerasPredict:
    """`Model.predict` on scaled float32: what most scripts do."""

    def __init__(self, task: Task) -> None:
        self._scale = np.float32(task.model.scale)
        self._offset = np.float32(task.model.offset)
        self._keras = _source(task.model)

    def run(self, batch: Batch) -> Probabilities:
        """Scale in numpy, then predict."""
        scaled = batch.pixels * self._scale + self._offset
        answer: Probabilities = self._keras.predict(scaled, batch_size=len(scaled), verbose=0)
        return answer


class TensorFlowFunction:
    """One `tf.function` over uint8, traced once for any batch: the fast way to call TensorFlow."""

    def __init__(self, task: Task) -> None:
        model, source = task.model, _source(task.model)
        spec = tf.TensorSpec([None, model.height, model.width, 3], tf.uint8)

        def call(image: Any) -> Any:
            scaled = tf.cast(image, tf.float32) * model.scale + model.offset
            return source(scaled, training=False)

        self._call = tf.function(call, input_signature=[spec])

    def run(self, batch: Batch) -> Probabilities:
        """Call the graph and bring its answer to numpy."""
        answer: Probabilities = self._call(batch.pixels).numpy()
        return answer
