"""What is written of a model beside its weights: its config.pbtxt and its file's metadata."""

import hashlib
import json
from collections.abc import Collection
from typing import Any

import onnx
import onnxruntime

from crossrun_export import convert, publish
from crossrun_export.backend import keras, tensorflow, tf2onnx
from crossrun_export.sources import Source

CONFIG = """\
name: "{name}"
backend: "onnxruntime"
max_batch_size: 32
input [ {inputs} ]
output [ {outputs} ]
dynamic_batching {{ }}
"""


def config(model: onnx.ModelProto, name: str, labelled: Collection[str]) -> str:
    """The text of config.pbtxt.

    Args:
        model: whose inputs and outputs have the batch first; an input with a value of its own, an
            initializer, is optional.
        name: of the model.
        labelled: outputs whose classes labels.txt names.
    """
    own = {tensor.name for tensor in model.graph.initializer}
    inputs = [_value(v, " optional: true" * (v.name in own)) for v in model.graph.input]
    labels = f' label_filename: "{publish.LABELS}"'
    outputs = [_value(v, labels * (v.name in labelled)) for v in model.graph.output]
    return CONFIG.format(name=name, inputs=",\n  ".join(inputs), outputs=",\n  ".join(outputs))


def _value(value: onnx.ValueInfoProto, more: str) -> str:
    tensor = value.type.tensor_type
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    datatype = "TYPE_" + kind.replace("float", "FP").upper()
    _, *sizes = [str(dim.dim_value or -1) for dim in tensor.shape.dim]
    # Nothing but the batch: the protocol wants one dimension, the graph none.
    dims = f"dims: [ {', '.join(sizes)} ]" if sizes else "dims: [ 1 ] reshape { shape: [ ] }"
    return f'{{ name: "{value.name}" data_type: {datatype} {dims}{more} }}'


def metadata(source: Source, resize: str, own: dict[str, Any]) -> dict[str, str]:
    """What travels in the ONNX file: how it takes pixels, where it comes from, and its `own`."""
    labels = "".join(f"{label}\n" for label in source.labels)
    scaling = source.preprocessing.scaling
    scale, offset = scaling.shortest
    properties: dict[str, Any] = {
        "preprocessing": {
            "pixels": scaling.name,
            "because": source.preprocessing.because,
            "color": scaling.color,
            "layout": "NHWC",
            "scale": scale,
            "offset": offset,
            "resize": resize,
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
