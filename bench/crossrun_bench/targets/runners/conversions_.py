"""The source Keras model in TensorFlow's other forms, as its own exporters make them."""

from pathlib import Path

import tensorflow as tf

from crossrun_bench.models.model import Model
from crossrun_bench.targets.runners.tensorflow_ import source


def saved_model(model: Model, output: str) -> None:
    """A SavedModel in the folder `output`: `Model.export`, its signature taking float32."""
    source(model).export(output, verbose=False)


def tflite(model: Model, output: str) -> None:
    """A TFLite file `output`, float32, without optimizations that would change answers."""
    Path(output).write_bytes(tf.lite.TFLiteConverter.from_keras_model(source(model)).convert())
