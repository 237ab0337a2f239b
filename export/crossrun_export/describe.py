"""What is written of a model beside its weights: its config.pbtxt and its file's metadata."""

import hashlib
import json
from collections.abc import Collection
from typing import Any

import onnx
import onnxruntime

from crossrun_export import convert, publish
from crossrun_export.provenance import Provenance

CONFIG = """\
name: "{name}"
backend: "onnxruntime"
max_batch_size: {most}
input [ {inputs} ]
output [ {outputs} ]
"""
MOST, BATCHING = 32, "dynamic_batching { }\n"


def config(model: onnx.ModelProto, name: str, labelled: Collection[str]) -> str:
    """The text of config.pbtxt.

    Args:
        model: whose inputs and outputs have the batch first, of any size, or of 1 if it takes one
            row at a time; an input with a value of its own, an initializer, is optional.
        name: of the model.
        labelled: outputs whose classes labels.txt names.
    """
    own = {tensor.name for tensor in model.graph.initializer}
    labels = f' label_filename: "{publish.LABELS}"'
    batched = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value != 1
    inputs = [_value(v, batched, " optional: true" * (v.name in own)) for v in model.graph.input]
    outputs = [_value(v, batched, labels * (v.name in labelled)) for v in model.graph.output]
    text = CONFIG.format(
        name=name,
        most=MOST if batched else 0,
        inputs=",\n  ".join(inputs),
        outputs=",\n  ".join(outputs),
    )
    return text + BATCHING * batched


def _value(value: onnx.ValueInfoProto, batched: bool, more: str) -> str:
    tensor = value.type.tensor_type
    kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
    datatype = "TYPE_" + kind.replace("float", "FP").upper()
    sizes = [str(dim.dim_value or -1) for dim in tensor.shape.dim][batched:]
    # Nothing but the batch: the protocol wants one dimension, the graph none.
    dims = f"dims: [ {', '.join(sizes)} ]" if sizes else "dims: [ 1 ] reshape { shape: [ ] }"
    return f'{{ name: "{value.name}" data_type: {datatype} {dims}{more} }}'


def metadata(made_from: Provenance, resize: str, own: dict[str, Any]) -> dict[str, str]:
    """What travels in the ONNX file: how it takes pixels, where it comes from, and its `own`."""
    labels = "".join(f"{label}\n" for label in made_from.labels)
    scaling = made_from.preprocessing.scaling
    scale, offset = scaling.shortest
    properties: dict[str, Any] = {
        "preprocessing": {
            "pixels": scaling.name,
            "because": made_from.preprocessing.because,
            "color": scaling.color,
            "layout": "NHWC",
            "scale": scale,
            "offset": offset,
            "resize": resize,
            "interpolation": "bilinear",
        },
        "source": dict(made_from.source),
        "versions": {
            **made_from.versions,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "opset": convert.OPSET,
        },
        "labels_sha256": hashlib.sha256(labels.encode()).hexdigest(),
        **own,
    }
    return {f"crossrun.{key}": json.dumps(value) for key, value in properties.items()}
