"""Tiny LiteRT files, as TensorFlow's converter writes them."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from crossrun_export.backend import keras
from crossrun_export.backend import tensorflow as tf

Kind = Literal["float32", "float16", "dynamic", "int8", "uint8"]
KINDS: tuple[Kind, ...] = ("float32", "float16", "dynamic", "int8", "uint8")
SIDE, CELLS, CLASSES = 32, 64, 3  # of the detector: pixels, boxes, and classes beside background


def classifiers(folder: Path) -> None:
    """Write KIND.tflite of one network of four classes, 16 x 16 pixels from 0 to 1."""
    model = _network()
    for kind in KINDS:
        (folder / f"{kind}.tflite").write_bytes(classifier(model, kind))


def _network() -> Any:
    """Large enough that the converter quantizes its weights: those of 1024 numbers or more."""
    keras.utils.set_random_seed(11)
    image = keras.Input((16, 16, 3))
    wide, narrow = (keras.initializers.RandomNormal(stddev=it) for it in (1, 0.2))
    seen = keras.layers.Conv2D(32, 4, 2, activation="relu", kernel_initializer=wide)(image)
    mean = keras.layers.GlobalAveragePooling2D()(seen)
    scores = keras.layers.Dense(4, "softmax", kernel_initializer=narrow)(mean)
    return keras.Model(image, scores)


def classifier(model: Any, kind: Kind) -> bytes:
    """A Keras model as LiteRT, with numbers of a kind; dynamic ones are quantized as it runs."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if kind != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if kind in ("int8", "uint8"):
        noise = np.random.default_rng(1).random((20, 1, *model.input_shape[1:]), np.float32)
        noise[0], noise[1] = 0, 1  # so that the range is that of pixels
        converter.representative_dataset = lambda: ([one] for one in noise)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.as_dtype(kind)
    return _converted(converter)


def detector(*, regular: bool, score: float = 0.3, iou: float = 0.3, most: int = 20) -> bytes:
    """A detector that ends in TFLite_Detection_PostProcess: 64 anchors, three classes."""
    network = _Boxes(_postprocess(regular=regular, score=score, iou=iou, most=most))
    taken = tf.TensorSpec([1, SIDE, SIDE, 3], tf.float32, "picture")
    function = network.detect.get_concrete_function(taken)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], network)
    converter.allow_custom_ops = True
    return _converted(converter)


class _Boxes(tf.Module):  # type: ignore[misc]
    """Boxes and scores of random weights, one for each patch of 4 x 4 pixels."""

    def __init__(self, postprocess: Callable[..., Any]) -> None:
        super().__init__()
        chance = np.random.default_rng(5)
        self._postprocess = postprocess
        self._boxes = tf.constant(chance.normal(0, 0.8, (4, 4, 3, 4)).astype(np.float32))
        self._scores = tf.constant(chance.normal(0, 0.5, (4, 4, 3, CLASSES + 1)).astype(np.float32))
        places = (np.arange(8, dtype=np.float32) + 0.5) / 8
        centres = np.stack(np.meshgrid(places, places, indexing="ij"), axis=-1).reshape(-1, 2)
        self._anchors = tf.constant(np.hstack([centres, np.full_like(centres, 0.6)]))

    @tf.function  # type: ignore[untyped-decorator]
    def detect(self, picture: Any) -> Any:
        boxes = tf.nn.conv2d(picture, self._boxes, 4, "VALID")
        scores = tf.sigmoid(tf.nn.conv2d(picture, self._scores, 4, "VALID"))
        return self._postprocess(
            tf.reshape(boxes, [1, CELLS, 4]),
            tf.reshape(scores, [1, CELLS, CLASSES + 1]),
            self._anchors,
        )


def _postprocess(*, regular: bool, score: float, iou: float, most: int) -> Callable[..., Any]:
    """A function that the converter replaces by the operation that it is said to be."""
    attributes = {
        "max_detections": f"i: {most}",
        "max_classes_per_detection": "i: 1",
        "detections_per_class": f"i: {most}",
        "use_regular_nms": f"b: {str(regular).lower()}",
        "nms_score_threshold": f"f: {score}",
        "nms_iou_threshold": f"f: {iou}",
        "num_classes": f"i: {CLASSES}",
        # As TensorFlow's Object Detection API has them.
        **{f"{axis}_scale": "f: 10" for axis in "yx"},
        **{f"{axis}_scale": "f: 5" for axis in "hw"},
    }
    text = " ".join(f'attr {{ key: "{k}" value {{ {v} }} }}' for k, v in attributes.items())

    @tf.function(experimental_implements=f'name: "TFLite_Detection_PostProcess" {text}')  # type: ignore[untyped-decorator]
    def answer(boxes: Any, scores: Any, anchors: Any) -> Any:
        del boxes, scores, anchors
        return tf.constant(0.0), tf.constant(0.0), tf.constant(0.0), tf.constant(0.0)

    found: Callable[..., Any] = answer
    return found


def _converted(converter: Any) -> bytes:
    with warnings.catch_warnings(action="ignore"):
        converted: bytes = converter.convert()
    return converted
