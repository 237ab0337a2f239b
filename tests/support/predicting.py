"""TensorFlow Serving's messages for tiny models, made with our stubs."""

from collections.abc import Sequence
from typing import Any

from crossrun.tfserving import prediction_service_pb2 as pb
from crossrun.tfserving import tensorflow_pb2 as tf
from tests.support.requests import NUMPY

DT: dict[str, Any] = {
    "BOOL": tf.DT_BOOL, "UINT8": tf.DT_UINT8, "UINT16": tf.DT_UINT16, "UINT32": tf.DT_UINT32,
    "UINT64": tf.DT_UINT64, "INT8": tf.DT_INT8, "INT16": tf.DT_INT16, "INT32": tf.DT_INT32,
    "INT64": tf.DT_INT64, "FP16": tf.DT_HALF, "FP32": tf.DT_FLOAT, "FP64": tf.DT_DOUBLE,
    "BF16": tf.DT_BFLOAT16, "BYTES": tf.DT_STRING,
}  # fmt: skip
assert DT.keys() == {*NUMPY, "BYTES"}


def tensor(dtype: Any, shape: Sequence[int], **values: Any) -> tf.TensorProto:
    """A tensor whose elements are in the field that is named."""
    made = tf.TensorProto(dtype=dtype, **values)
    made.tensor_shape.SetInParent()
    for size in shape:
        made.tensor_shape.dim.add(size=size)
    return made


def predict(model: str, outputs: Sequence[str] = (), **inputs: tf.TensorProto) -> pb.PredictRequest:
    """A request with these inputs."""
    request = pb.PredictRequest(model_spec=pb.ModelSpec(name=model), output_filter=outputs)
    for name, one in inputs.items():
        request.inputs[name].CopyFrom(one)
    return request


def examples(*pictures: bytes, feature: str = "image/encoded") -> pb.Input:
    """An Example for each picture."""
    made = pb.Input()
    for picture in pictures:
        example = made.example_list.examples.add()
        example.features.feature[feature].bytes_list.value.append(picture)
    return made
