"""A TensorFlow Serving that computes the model of colours, or says something else."""

from typing import Any

import grpc
import numpy as np

from crossrun.tfserving import prediction_service_pb2 as tfs
from crossrun.tfserving import tensorflow_pb2 as tf
from crossrun_bench.models.model import Model
from crossrun_bench.pictures.pictures import Batch
from tests.support import fakes
from tests.support.fakes import Method


def signature(taken: tuple[str, list[int]], outputs: int = 1) -> Method:
    """GetModelMetadata of a signature with one input, of a type and shape."""

    def answer(request: Any, _: grpc.ServicerContext) -> Any:
        assert list(request.metadata_field) == ["signature_def"]
        found = tfs.SignatureDefMap()
        default = found.signature_def["serving_default"]
        tensors: list[tuple[Any, str, list[int]]] = [(default.inputs["input_layer"], *taken)]
        tensors += [(default.outputs[f"output_{i}"], "DT_FLOAT", [-1, 3]) for i in range(outputs)]
        for tensor, datatype, shape in tensors:
            tensor.dtype = tf.DataType.Value(datatype)
            for size in shape:
                tensor.tensor_shape.dim.add(size=size)
        reply = tfs.GetModelMetadataResponse()
        reply.metadata["signature_def"].value = found.SerializeToString()
        return reply

    return answer


def predict(model: Model, datatype: str, raw: bool) -> Method:
    """Predict by the model itself; the probabilities as bytes, or as numbers."""
    dtype, factor = (np.float32, 255) if datatype == "DT_FLOAT" else (np.uint8, 1)

    def answer(request: Any, _: grpc.ServicerContext) -> Any:
        assert (request.model_spec.name, list(request.inputs)) == ("colours", ["input_layer"])
        tensor = request.inputs["input_layer"]
        assert tf.DataType.Name(tensor.dtype) == datatype
        given = np.frombuffer(tensor.tensor_content, dtype)
        image = given.reshape([dim.size for dim in tensor.tensor_shape.dim]) * factor
        found = fakes.expected(model, Batch(image.round().astype(np.uint8), ()))
        reply = tfs.PredictResponse()
        output = reply.outputs["output_0"]
        output.dtype = tf.DT_FLOAT
        for size in found.shape:
            output.tensor_shape.dim.add(size=size)
        if raw:
            output.tensor_content = found.tobytes()
        else:
            output.float_val.extend(found.ravel())
        return reply

    return answer


def tensorflow_serving(metadata: Method, answer: Method) -> Any:
    methods: dict[str, tuple[type[Any], Method]] = {
        "GetModelMetadata": (tfs.GetModelMetadataRequest, metadata),
        "Predict": (tfs.PredictRequest, answer),
    }
    return fakes.services(("tensorflow.serving.PredictionService", methods))
