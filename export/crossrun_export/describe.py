"""What is written of a model beside its weights: its config.pbtxt and its file's metadata."""

import hashlib
import json
from typing import Any

import onnx
import onnxruntime

from crossrun_export import convert, publish
from crossrun_export.backend import keras, tensorflow, tf2onnx
from crossrun_export.options import Options
from crossrun_export.sources import Source


def config(source: Source, options: Options, name: str) -> str:
    """The text of config.pbtxt."""
    height, width = source.size
    return publish.CONFIG.format(
        name=name,
        input=convert.INPUT,
        datatype={"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}[options.input_dtype],
        height=height,
        width=width,
        output=convert.OUTPUT,
        classes=source.classes,
        label_filename=f' label_filename: "{publish.LABELS}"' if source.labels else "",
    )


def metadata(source: Source, options: Options, own: dict[str, Any]) -> dict[str, str]:
    """What travels in the ONNX file: how it takes pixels, where it comes from, and its `own`."""
    labels = "".join(f"{label}\n" for label in source.labels)
    properties: dict[str, Any] = {
        "preprocessing": {
            "color": "RGB",
            "layout": "NHWC",
            "scale": source.scale,
            "offset": source.offset,
            "resize": options.resize,
            "interpolation": "bilinear",
        },
        "source": {
            "model": source.model.name,
            "weights": source.weights,
            "sha256": source.sha256,
        },
        "versions": {
            "keras": keras.__version__,
            "tensorflow": tensorflow.__version__,
            "tf2onnx": tf2onnx.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "opset": convert.OPSET,
        },
        "labels_sha256": hashlib.sha256(labels.encode()).hexdigest(),
        **own,
    }
    return {f"crossrun.{key}": json.dumps(value) for key, value in properties.items()}
