"""The source Keras model in TensorFlow's other forms, as its own exporters make them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import keras
import tensorflow as tf

if TYPE_CHECKING:
    from crossrun_bench.model import Model


def saved_model(model: Model, output: str) -> None:
    """A SavedModel in the folder `output`: `Model.export`, its signature taking float32."""
    keras.models.load_model(model.keras, compile=False).export(output, verbose=False)


def tflite(model: Model, output: str) -> None:
    """A TFLite file `output`, float32, without optimizations that would change answers."""
    source = keras.models.load_model(model.keras, compile=False)
    Path(output).write_bytes(tf.lite.TFLiteConverter.from_keras_model(source).convert())
