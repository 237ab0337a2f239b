"""What a user of TensorFlow Serving's API does, with all of TensorFlow; run by test_stock.py.

Arguments: the server's address, a SavedModel, and the name of the model that was exported of it.
"""

import sys
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

TYPES = {
    "bool": tf.bool, "uint8": tf.uint8, "uint16": tf.uint16, "uint32": tf.uint32,
    "uint64": tf.uint64, "int8": tf.int8, "int16": tf.int16, "int32": tf.int32,
    "int64": tf.int64, "fp16": tf.float16, "fp32": tf.float32, "fp64": tf.float64,
    "bf16": tf.bfloat16,
}  # fmt: skip


def predict(stub: Any, model: str, **inputs: Any) -> Any:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = model, "serving_default"
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(value)
    return stub.Predict(request, timeout=60)


def every_type(stub: Any) -> None:
    """Of one value for all, of one for each, and of strings."""
    for name, dtype in TYPES.items():
        for values in ([[1, 1]], [[0, 1]]):
            sent = np.array(values, dtype.as_numpy_dtype)
            reply = predict(stub, f"identity_{name}", x=tf.make_tensor_proto(sent))
            found = tf.make_ndarray(reply.outputs["y"])
            assert found.dtype == sent.dtype
            assert (found == sent).all()
    filled = tf.make_tensor_proto(7.0, shape=[2, 3], dtype=tf.float32)
    assert (tf.make_ndarray(predict(stub, "identity_fp32", x=filled).outputs["y"]) == 7).all()
    strings = tf.make_tensor_proto([["a", "é"]])
    found = tf.make_ndarray(predict(stub, "identity_bytes", x=strings).outputs["y"])
    assert found.tolist() == [[b"a", "é".encode()]]


def same_answers(stub: Any, saved: str, model: str) -> None:
    """The SavedModel in this process and what is served of it agree, by any form of a tensor."""
    loaded = tf.saved_model.load(saved)
    signature = loaded.signatures["serving_default"]
    (input_name,) = signature.structured_input_signature[1]
    (output_name,) = signature.structured_outputs
    random = np.random.default_rng(5).uniform(-1, 1, (2, 16, 16, 3)).astype(np.float32)
    expected = signature(**{input_name: tf.constant(random)})[output_name].numpy()
    as_bytes = tf.make_tensor_proto(random)
    as_list = tf.make_tensor_proto(random)
    as_list.ClearField("tensor_content")
    as_list.float_val.extend(random.ravel())
    described = metadata(stub, model)
    (served_input,), (served_output,) = described.inputs, described.outputs
    for sent in (as_bytes, as_list):
        reply = predict(stub, model, **{served_input: sent})
        np.testing.assert_allclose(
            tf.make_ndarray(reply.outputs[served_output]), expected, atol=1e-5
        )
        flat = list(reply.outputs[served_output].float_val)  # as many examples read it
        np.testing.assert_allclose(flat, expected.ravel(), atol=1e-5)


def metadata(stub: Any, model: str) -> Any:
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = model
    request.metadata_field.append("signature_def")
    reply = stub.GetModelMetadata(request, timeout=60)
    found = get_model_metadata_pb2.SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(found)
    return found.signature_def["serving_default"]


def classify(stub: Any) -> None:
    picture = tf.io.encode_png(np.full((8, 8, 3), [0, 255, 0], np.uint8)).numpy()
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture]))
    example = tf.train.Example(features=tf.train.Features(feature={"image/encoded": feature}))
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "colours"
    request.input.example_list.examples.extend([example])
    (found,) = stub.Classify(request, timeout=60).result.classifications
    assert (found.classes[0].label, found.classes[0].score) == ("green", 1.0)


def status(states: Any) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "counted"
    found = states.GetModelStatus(request, timeout=60).model_version_status
    available = get_model_status_pb2.ModelVersionStatus.AVAILABLE
    assert [(one.version, one.state) for one in found] == [(3, available), (1, available)]


def errors(stub: Any) -> None:
    for model, code in (("nobody", "NOT_FOUND"), ("simple", "INVALID_ARGUMENT")):
        with pytest.raises(grpc.RpcError) as caught:
            predict(stub, model, x=tf.make_tensor_proto([1.0]))
        assert caught.value.code().name == code


def main(address: str, saved: str, model: str) -> None:
    assert Path(saved, "saved_model.pb").exists()
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        every_type(stub)
        same_answers(stub, saved, model)
        classify(stub)
        status(model_service_pb2_grpc.ModelServiceStub(channel))
        errors(stub)
    sys.stdout.write("all calls answered\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
