"""A running TensorFlow Serving or OpenVINO Model Server, through PredictionService/Predict.

It must serve the exported source model, or one that takes the pixels themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np

from crossrun.tfserving import prediction_service_pb2 as serving
from crossrun.tfserving import tensorflow_pb2
from crossrun.tfserving.prediction_service_pb2_grpc import PredictionServiceStub
from crossrun_bench.errors import BenchError
from crossrun_bench.models.model import Model, Probabilities, scaled
from crossrun_bench.pictures.pictures import Batch, Pixels
from crossrun_bench.targets.channels import channel
from crossrun_bench.targets.runners.grpc_ import answered
from crossrun_bench.targets.task import Task

_SIGNATURE, _FIELD = "serving_default", "signature_def"
_TYPES = {number: name for name, number in tensorflow_pb2.DataType.items()}


class Predict:
    """Predict with the bytes of a tensor, once the server's signature fits."""

    def __init__(self, task: Task) -> None:
        opened = channel(task.address or "")
        self._stub = PredictionServiceStub(opened)
        try:
            self._signature = signature(opened, task.model)
        except BenchError as error:
            raise BenchError(f"{task.address}: {error}") from error

    def run(self, batch: Batch) -> Probabilities:
        """Scale in numpy if the signature takes float32; send bytes, get numbers or bytes."""
        request = self._signature.request(batch.pixels)
        return self._signature.probabilities(answered(self._stub.Predict, request))


@dataclass(frozen=True)
class Signature:
    """The input and the output of the served signature."""

    model: Model
    input: str
    type: Any  # DT_FLOAT, or DT_UINT8 for the pixels themselves
    output: str

    def request(self, pixels: Pixels) -> serving.PredictRequest:
        """The request for uint8 pixels [batch, H, W, 3]."""
        raw = self.type == tensorflow_pb2.DT_UINT8
        image = pixels if raw else scaled(self.model, pixels)
        request = serving.PredictRequest(model_spec=_spec(self.model))
        tensor = request.inputs[self.input]
        tensor.dtype, tensor.tensor_content = self.type, image.tobytes()
        for size in image.shape:
            tensor.tensor_shape.dim.add(size=size)
        return request

    def probabilities(self, reply: serving.PredictResponse) -> Probabilities:
        """The probabilities in a reply, whether in bytes or in numbers."""
        return _array(reply.outputs[self.output])


def signature(opened: grpc.Channel, model: Model) -> Signature:
    """The server's signature.

    Raises:
        BenchError: it does not fit the model.
    """
    request = serving.GetModelMetadataRequest(model_spec=_spec(model), metadata_field=[_FIELD])
    metadata = answered(PredictionServiceStub(opened).GetModelMetadata, request).metadata
    found = serving.SignatureDefMap.FromString(metadata[_FIELD].value).signature_def
    if _SIGNATURE not in found:
        names = ", ".join(found) or "none"
        raise BenchError(f"expected a signature '{_SIGNATURE}', got {names}")
    name, datatype = _tensor("input", found[_SIGNATURE].inputs, _taken(model))
    output, _ = _tensor("output", found[_SIGNATURE].outputs, _given(model))
    return Signature(model, name, datatype, output)


def _spec(model: Model) -> serving.ModelSpec:
    return serving.ModelSpec(name=model.name, signature_name=_SIGNATURE)


def _taken(model: Model) -> list[str]:
    shape = [-1, model.height, model.width, 3]
    return [f"DT_FLOAT {shape}", f"DT_UINT8 {shape}"]


def _given(model: Model) -> list[str]:
    return [f"DT_FLOAT {[-1, model.classes]}"]


def _tensor(what: str, tensors: Mapping[str, Any], expected: list[str]) -> tuple[str, Any]:
    """The name and type of the only tensor; raise BenchError if it is not an expected one."""
    said = {name: _said(tensor) for name, tensor in sorted(tensors.items())}
    if len(said) != 1 or not set(said.values()) <= set(expected):
        got = ", ".join(f"{name} {text}" for name, text in said.items()) or "none"
        raise BenchError(f"expected one {what} {' or '.join(expected)}, got {got}")
    ((name, tensor),) = tensors.items()
    return name, tensor.dtype


def _said(tensor: Any) -> str:
    """A tensor's type, and its shape for any batch."""
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    return f"{_TYPES.get(tensor.dtype, f'data type {tensor.dtype}')} {[-1, *sizes[1:]]}"


def _array(tensor: Any) -> Probabilities:
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, np.float32).reshape(shape)
    return np.array(tensor.float_val, np.float32).reshape(shape)
