"""The source Keras model on TensorFlow, in the three ways that people call it.

All take uint8 pixels and scale them within the timed work, as the served model does.
"""

from typing import Any

import keras
import tensorflow as tf

from crossrun_bench.errors import BenchError
from crossrun_bench.models.model import Model, Objects, Probabilities, packed, scaled
from crossrun_bench.pictures.pictures import Batch
from crossrun_bench.targets.task import Task


def source(model: Model) -> Any:
    """The source Keras model; BenchError where it needs code that its file does not bring."""
    try:
        return keras.models.load_model(model.keras, compile=False)
    except (TypeError, ValueError) as error:  # of a custom layer, of a Lambda
        raise BenchError(
            f"{model.keras} needs code of its own, a Lambda or a custom layer, which is not run "
            "here: leave out the targets that are TensorFlow"
        ) from error


def _scaled(image: Any, model: Model) -> Any:
    """As `scaled` does, inside a graph."""
    ordered = image[..., ::-1] if model.color == "BGR" else image
    return tf.cast(ordered, tf.float32) * model.scale + model.offset


class KerasPredict:
    """`Model.predict` on scaled float32: what most scripts do."""

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
        """Call the graph and bring its answer to numpy."""
        return _objects(self._call(batch.pixels))


def _suppressed(boxes: Any, scores: Any, model: Model) -> Any:
    """Of each class the boxes [batch, cells, 4] that overlap no better one, the best over all."""
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
    """One `tf.function` over uint8, traced once for any batch: the fast way to call TensorFlow."""

    def __init__(self, task: Task) -> None:
        model, network = task.model, source(task.model)
        spec = tf.TensorSpec([None, model.height, model.width, 3], tf.uint8)

        def call(image: Any) -> Any:
            return network(_scaled(image, model), training=False)

        self._call = tf.function(call, input_signature=[spec])

    def run(self, batch: Batch) -> Probabilities:
        """Call the graph and bring its answer to numpy."""
        answer: Probabilities = self._call(batch.pixels).numpy()
        return answer


class SavedModel:
    """The exported SavedModel, called by its serving signature on scaled float32."""

    def __init__(self, task: Task) -> None:
        self._model = task.model
        self._loaded = tf.saved_model.load(task.converted)  # holds the weights: keep it
        self._call = self._loaded.signatures["serving_default"]
        (self._input,) = self._call.structured_input_signature[1]
        (self._output,) = self._call.structured_outputs

    def run(self, batch: Batch) -> Probabilities:
        """Scale in numpy, then call the graph and bring its answer to numpy."""
        image = tf.constant(scaled(self._model, batch.pixels))
        answer: Probabilities = self._call(**{self._input: image})[self._output].numpy()
        return answer
