"""A running TensorFlow Serving, or OpenVINO Model Server, by PredictionService/Predict.

What it serves is expected to be the exported source model, or one that takes the pixels themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crossrun.tfserving import prediction_service_pb2 as serving
from crossrun.tfserving.prediction_service_pb2_grpc import PredictionServiceStub
from crossrun_bench.errors import BenchError
from crossrun_bench.model import scaled
from crossrun_bench.runners.grpc_ import answered, channel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crossrun_bench.model import Model
    from crossrun_bench.pictures import Batch
    from crossrun_bench.runners import Probabilities, Task

_SIGNATURE, _FIELD = "serving_default", "signature_def"
_TYPES = {number: name for name, number in serving.DataType.items()}


class Predict:
    """Predict with the bytes of a tensor, once the signature that the server tells of fits."""

    def __init__(self, task: Task) -> None:
        model = self._model = task.model
        self._stub = PredictionServiceStub(channel(task.address or ""))
        try:
            signature = self._signature()
            self._input, self._type = _tensor("input", signature.inputs, _taken(model))
            self._output, _ = _tensor("output", signature.outputs, _given(model))
        except BenchError as error:
            raise BenchError(f"{task.address}: {error}") from error

    def run(self, batch: Batch) -> Probabilities:
        """Scale in numpy where the signature takes float32; bytes out, numbers or bytes back."""
        raw = self._type == serving.DT_UINT8
        pixels = batch.pixels if raw else scaled(self._model, batch.pixels)
        request = serving.PredictRequest(model_spec=self._spec())
        tensor = request.inputs[self._input]
        tensor.dtype, tensor.tensor_content = self._type, pixels.tobytes()
        for size in pixels.shape:
            tensor.tensor_shape.dim.add(size=size)
        return _array(answered(self._stub.Predict, request).outputs[self._output])

    def _spec(self) -> serving.ModelSpec:
        return serving.ModelSpec(name=self._model.name, signature_name=_SIGNATURE)

    def _signature(self) -> serving.SignatureDef:
        request = serving.GetModelMetadataRequest(model_spec=self._spec(), metadata_field=[_FIELD])
        metadata = answered(self._stub.GetModelMetadata, request).metadata
        found = serving.SignatureDefMap.FromString(metadata[_FIELD].value)
        if _SIGNATURE not in found.signature_def:
            names = ", ".join(found.signature_def) or "none"
            raise BenchError(f"expected a signature '{_SIGNATURE}', got {names}")
        return found.signature_def[_SIGNATURE]


def _taken(model: Model) -> list[str]:
    shape = [-1, model.height, model.width, 3]
    return [f"DT_FLOAT {shape}", f"DT_UINT8 {shape}"]


def _given(model: Model) -> list[str]:
    return [f"DT_FLOAT {[-1, model.classes]}"]


def _tensor(what: str, tensors: Mapping[str, Any], expected: list[str]) -> tuple[str, Any]:
    """Name and type of the only tensor; BenchError where it is none of those expected."""
    said = {name: _said(tensor) for name, tensor in sorted(tensors.items())}
    if len(said) != 1 or not set(said.values()) <= set(expected):
        got = ", ".join(f"{name} {text}" for name, text in said.items()) or "none"
        raise BenchError(f"expected one {what} {' or '.join(expected)}, got {got}")
    ((name, tensor),) = tensors.items()
    return name, tensor.dtype


def _said(tensor: Any) -> str:
    """Its type, and its shape for any batch."""
    sizes = [dim.size for dim in tensor.tensor_shape.dim]
    return f"{_TYPES.get(tensor.dtype, f'data type {tensor.dtype}')} {[-1, *sizes[1:]]}"


def _array(tensor: Any) -> Probabilities:
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_content:
        return np.frombuffer(tensor.tensor_content, np.float32).reshape(shape)
    return np.array(tensor.float_val, np.float32).reshape(shape)
