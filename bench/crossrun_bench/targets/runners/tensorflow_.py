"""The source Keras model on TensorFlow, in the ways that people call it, and in its other forms.

All runners take uint8 pixels and scale them within the timed work, as the served model does.
"""

from typing import Any

import keras
import tensorflow as tf

from crossrun_bench.errors import BenchError
from crossrun_bench.models.model import Model, Objects, Probabilities, packed, scaled
from crossrun_bench.pictures.pictures import Batch
from crossrun_bench.targets.runners.saved_model_ import convert
from crossrun_bench.targets.task import Task


def source(model: Model) -> Any:
    """The source Keras model.

    Raises:
        BenchError: the model needs code that its file does not hold.
    """
    try:
        return keras.models.load_model(model.original.file, compile=False)
    except (TypeError, ValueError) as error:  # about a custom layer or a Lambda
        raise BenchError(
            f"{model.original.file} needs code of its own, a Lambda or a custom layer, which is "
            "not run here: leave out the targets of TensorFlow"
        ) from error


def _scaled(image: Any, model: Model) -> Any:
    """Do what `scaled` does, inside a graph."""
    ordered = image[..., ::-1] if model.color == "BGR" else image
    return tf.cast(ordered, tf.float32) * model.scale + model.offset


class KerasPredict:
    """`Model.predict` on scaled float32, as most scripts call it."""

    def __init__(self, task: Task) -> None:
        self._model = task.model
        self._keras = source(task.model)

    def run(self, batch: Batch) -> Probabilities:
        """Scale in numpy, then predict."""
        pixels = scaled(self._model, batch.pixels)
        answer: Probabilities = self._keras.predict(pixels, batch_size=len(pixels), verbose=0)
        return answer


class KerasDetector:
    """`Model.predict` of boxes and scores, and TensorFlow's own non-maximum suppression."""

    def __init__(self, task: Task) -> None:
        self._model = task.model
        self._keras = source(task.model)

    def run(self, batch: Batch) -> Objects:
        """Scale in numpy, predict, suppress."""
        pixels = scaled(self._model, batch.pixels)
        boxes, scores = self._keras.predict(pixels, batch_size=len(pixels), verbose=0)
        return _objects(_suppressed(boxes, scores, self._model))


class DetectorFunction:
    """One `tf.function` over uint8, with non-maximum suppression in it."""

    def __init__(self, task: Task) -> None:
        model, network = task.model, source(task.model)
        spec = tf.TensorSpec([None, model.height, model.width, 3], tf.uint8)

        def call(image: Any) -> Any:
            pixels = _scaled(image, model)
            boxes, scores = network(pixels, training=False)
            return _suppressed(boxes, scores, model)

        self._call = tf.function(call, input_signature=[spec])

    def run(self, batch: Batch) -> Objects:
        """Call the graph, and return its answer as numpy arrays."""
        return _objects(self._call(batch.pixels))


def _suppressed(boxes: Any, scores: Any, model: Model) -> Any:
    """The best boxes [batch, cells, 4] that overlap no better box of their class."""
    assert model.detector
    return tf.image.combined_non_max_suppression(
        boxes[:, :, None],
        scores,
        max_output_size_per_class=model.detector.max_detections,
        max_total_size=model.detector.max_detections,
        iou_threshold=model.detector.iou_threshold,
        score_threshold=model.detector.least,
        clip_boxes=False,
    )


def _objects(found: Any) -> Objects:
    names = ("detection_boxes", "detection_scores", "detection_classes", "num_detections")
    return packed({name: each.numpy() for name, each in zip(names, found, strict=True)})


class TensorFlowFunction:
    """One `tf.function` over uint8, traced once for all batch sizes: TensorFlow's fast way."""

    def __init__(self, task: Task) -> None:
        model, network = task.model, source(task.model)
        spec = tf.TensorSpec([None, model.height, model.width, 3], tf.uint8)

        def call(image: Any) -> Any:
            return network(_scaled(image, model), training=False)

        self._call = tf.function(call, input_signature=[spec])

    def run(self, batch: Batch) -> Probabilities:
        """Call the graph, and return its answer as a numpy array."""
        answer: Probabilities = self._call(batch.pixels).numpy()
        return answer


def saved_model(model: Model, output: str) -> None:
    """Write a SavedModel into the folder `output` with `Model.export`; it takes float32."""
    source(model).export(output, verbose=False)


def tflite(model: Model, output: str) -> None:
    """Write a TFLite file `output`; see `convert`."""
    convert(tf.lite.TFLiteConverter.from_keras_model(source(model)), model, output)
