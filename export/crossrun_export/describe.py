"""What is written of a model beside its weights: its config.pbtxt and its file's metadata."""

import hashlib
import json
from typing import Any

import onnx
import onnxruntime
from onnx import TensorProto

from crossrun_export import convert, publish
from crossrun_export.backend import keras, tensorflow, tf2onnx
from crossrun_export.options import Options
from crossrun_export.sources import Source

DATATYPES: dict[int, str] = {
    TensorProto.UINT8: "TYPE_UINT8",
    TensorProto.FLOAT: "TYPE_FP32",
    TensorProto.INT32: "TYPE_INT32",
    TensorProto.INT64: "TYPE_INT64",
}
OF_CLASSES = (convert.OUTPUT, "detection_classes")  # outputs whose values or places are classes


def config(model: onnx.ModelProto, name: str, *, labels: bool) -> str:
    """The text of config.pbtxt.

    Args:
        model: what it tells the inputs and outputs of, the first axis of each being the batch's.
        name: of the model.
        labels: whether there is a file of them.
    """
    labelled = OF_CLASSES if labels else ()
    outputs = [_tensor(value, value.name in labelled) for value in model.graph.output]
    return publish.CONFIG.format(
        name=name,
        input=_tensor(model.graph.input[0], labelled=False),
        outputs=f" {outputs[0]} " if len(outputs) == 1 else "\n  " + ",\n  ".join(outputs) + "\n",
    )


def _tensor(value: onnx.ValueInfoProto, labelled: bool) -> str:
    kind = value.type.tensor_type
    _, *dims = [size.dim_value for size in kind.shape.dim]
    # Triton's way to say that there is nothing but the batch.
    shape = f"[ {', '.join(map(str, dims))} ]" if dims else "[ 1 ] reshape { shape: [ ] }"
    label_filename = f' label_filename: "{publish.LABELS}"' if labelled else ""
    datatype = DATATYPES[kind.elem_type]
    return f'{{ name: "{value.name}" data_type: {datatype} dims: {shape}{label_filename} }}'


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
