"""Models of other runtimes beside what is served of them, as the export lays them out.

Detectors find coloured rectangles as `detectors.finder` does; classifiers name a picture's colour.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto as Tp
from onnx import helper

from tests.support import detectors, models
from tests.support.coco import COLOURS

PREPROCESSING = {"scale": 1.0, "offset": 0.0}
DETECTION = {"score_threshold": 0.3, "iou_threshold": 0.5, "max_detections": 3}
# As the SavedModel has it: rows of xmin, ymin, xmax, ymax in pixels, score, class from 0.
ROWS = {
    "layout": "rows",
    "outputs": {"rows": "detections"},
    "batched": True,
    "columns_first": False,
    "box_order": "xyxy",
    "box_unit": "pixels",
    "size": [detectors.HEIGHT, detectors.WIDTH],
    "numbers": [0, 1, 2],
    "background": "none",
    "head": None,
}
# As `detectors.foreign` has it: boxes, scores, classes from 1 and their count apart.
APART = ROWS | {
    "layout": "apart",
    "outputs": {"boxes": "where", "scores": "how", "classes": "what", "count": "many"},
    "numbers": [1, 2, 3],
}


def source(runtime: str, file: str, **told: Any) -> dict[str, Any]:
    """`crossrun.source` of a model of another runtime."""
    return {
        "model": file,
        "sha256": "2" * 64,
        "runtime": runtime,
        "file": file,
        "signature": "serving_default" if runtime == "tensorflow" else None,
        "input": None,
        "dtype": "float32",
        "axes": "NHWC",
        "scaling": PREPROCESSING,
        "layout": None,
    } | told


def write(  # noqa: PLR0913 - what a repository holds
    root: Path,
    name: str,
    served: onnx.ModelProto,
    config: str,
    told: dict[str, Any],
    *,
    resize: str = "stretch",
    scores: str | None = None,
) -> Path:
    """Write what is served; returns the folder of its version, where the original goes."""
    metadata: dict[str, Any] = {
        "crossrun.preprocessing": PREPROCESSING | {"resize": resize},
        "crossrun.source": told,
    }
    metadata |= (
        {"crossrun.scores": {"head": scores}} if scores else {"crossrun.detection": DETECTION}
    )
    helper.set_model_props(served, {key: json.dumps(value) for key, value in metadata.items()})
    models.write(root, name, served, config, labels=detectors.LABELS)
    return root / name / "1"


def write_detectors(root: Path) -> None:
    """`of-saved-model`, and for one picture at a time `of-litert` and `of-onnx`."""
    from crossrun_export.backend import tensorflow as tf

    told = source("tensorflow", "saved_model", input="images", layout=ROWS)
    many = detectors.FINDER + detectors.OPTIONS
    folder = write(root, "of-saved-model", detectors.finder(), many, told) / "saved_model"
    found = finder()
    tf.saved_model.save(found, str(folder), signatures={"serving_default": found.find})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    told = source("litert", "model.tflite", layout=ROWS)
    version = write(root, "of-litert", detectors.finder(1), single(), told)
    (version / "model.tflite").write_bytes(converter.convert())
    told = source("onnxruntime", "source.onnx", input="image", dtype="uint8", layout=APART)
    version = write(root, "of-onnx", detectors.finder(1), single(), told)
    onnx.save(detectors.foreign(), version / "source.onnx")


def single() -> str:
    """The configuration of a finder that takes one picture, and thresholds with it."""
    text = (detectors.FINDER + detectors.OPTIONS).replace("max_batch_size: 4", "max_batch_size: 0")
    for dims in ("48, 64, 3", "3", "1"):
        text = text.replace(f"dims: [{dims}]", f"dims: [1, {dims}]")
    return text


def finder() -> Any:
    """A module whose `find` takes one picture, float32 0 … 255, and returns rows of ROWS."""
    from crossrun_export.backend import tensorflow as tf

    height, width = detectors.HEIGHT, detectors.WIDTH
    spec = tf.TensorSpec([1, height, width, 3], tf.float32, name="images")
    colours = np.where(np.eye(3), 1, -0.5).astype(np.float32) / 255

    class Finder(tf.Module):  # type: ignore[misc]  # TensorFlow has no types
        @tf.function(input_signature=[spec])  # type: ignore[untyped-decorator]
        def find(self, images: Any) -> dict[str, Any]:
            excess = tf.reshape(tf.matmul(tf.reshape(images, [-1, 3]), colours), images.shape)
            mask = tf.cast(excess > 0.25, tf.float32)
            rows, columns = tf.reduce_max(mask, 2), tf.reduce_max(mask, 1)
            edges = [
                tf.argmax(columns, 1),
                tf.argmax(rows, 1),
                width - tf.argmax(tf.reverse(columns, [1]), 1),
                height - tf.argmax(tf.reverse(rows, [1]), 1),
            ]
            boxes = [tf.cast(edge, tf.float32) for edge in edges]
            scores, classes = tf.reduce_max(excess, [1, 2]), tf.constant([[0.0, 1.0, 2.0]])
            return {"detections": tf.stack([*boxes, scores, classes], 2)}

    return Finder()


CLASSIFIER = """
max_batch_size: 4
output [{ name: "scores" data_type: TYPE_FP32 dims: [3] label_filename: "labels.txt" }]
"""


def served_classifier() -> onnx.ModelProto:
    """`image` UINT8 [batch, 8, 8, 3] → `scores`, the mean of each channel of its sum."""
    image = helper.make_tensor_value_info("image", Tp.UINT8, ["batch", 8, 8, 3])
    return _classifier(image, axes=[1, 2])


def channels_first() -> onnx.ModelProto:
    """The same of `pixels` FP32 [1, 3, 8, 8]."""
    image = helper.make_tensor_value_info("pixels", Tp.FLOAT, [1, 3, 8, 8])
    return _classifier(image, axes=[2, 3])


def _classifier(image: onnx.ValueInfoProto, axes: list[int]) -> onnx.ModelProto:
    outputs = [helper.make_tensor_value_info("scores", Tp.FLOAT, ["batch", 3])]
    nodes = [
        helper.make_node("Cast", [image.name], ["float"], to=Tp.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=axes, keepdims=0),
        helper.make_node("ReduceSum", ["mean", "last"], ["sum"], keepdims=1),
        helper.make_node("Div", ["mean", "sum"], ["scores"]),
    ]
    return models.model_of(
        nodes, [image], outputs, [helper.make_tensor("last", Tp.INT64, [1], [1])]
    )


def write_classifiers(root: Path) -> None:
    """`of-onnx`, whose channels come first, and `of-litert`, in int8."""
    told = source("onnxruntime", "source.onnx", input="pixels", axes="NCHW")
    version = write(root, "of-onnx", served_classifier(), CLASSIFIER, told, scores="softmax")
    onnx.save(channels_first(), version / "source.onnx")
    told = source("litert", "model.tflite")
    version = write(root, "of-litert", served_classifier(), CLASSIFIER, told, scores="softmax")
    (version / "model.tflite").write_bytes(_quantized())


def _quantized() -> bytes:
    from crossrun_export.backend import tensorflow as tf

    spec = tf.TensorSpec([None, 8, 8, 3], tf.float32, name="pixels")
    seen = [np.full((1, 8, 8, 3), rgb, np.float32) for rgb in (*COLOURS.values(), (90, 90, 90))]

    @tf.function(input_signature=[spec])  # type: ignore[untyped-decorator]
    def classify(pixels: Any) -> Any:
        mean = tf.reduce_mean(pixels, [1, 2])
        return mean / tf.reduce_sum(mean, 1, keepdims=True)

    module = tf.Module()
    concrete = classify.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([pixels] for pixels in seen)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    converted: bytes = converter.convert()
    return converted
