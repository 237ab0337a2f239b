"""Classify, GetModelMetadata, GetModelStatus, and what TensorFlow Serving has and this has not."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as oip
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from crossrun.tfserving import model_service_pb2 as status_pb
from crossrun.tfserving import prediction_service_pb2 as pb
from crossrun.tfserving import tensorflow_pb2 as tf
from crossrun.tfserving.model_service_pb2_grpc import ModelServiceStub
from crossrun.tfserving.prediction_service_pb2_grpc import PredictionServiceStub
from tests.support import models
from tests.support.pictures import plain
from tests.support.predicting import examples, predict, tensor
from tests.support.requests import refusal
from tests.support.running import Server, serving

INVALID, UNIMPLEMENTED = StatusCode.INVALID_ARGUMENT, StatusCode.UNIMPLEMENTED
COLOURS = pb.ModelSpec(name="colours")
GREEN, RED = plain(51, 204, 102), plain(255, 0, 0, "JPEG")


@pytest.fixture
def opened(served: Server) -> Any:
    with grpc.insecure_channel(served.address) as channel:
        yield channel


@pytest.fixture
def stub(opened: grpc.Channel) -> Any:
    return PredictionServiceStub(opened)


@pytest.fixture
def states(opened: grpc.Channel) -> Any:
    return ModelServiceStub(opened)


def metadata(stub: Any, model: str) -> dict[str, Any]:
    request = pb.GetModelMetadataRequest(
        model_spec=pb.ModelSpec(name=model), metadata_field=["signature_def"]
    )
    reply = stub.GetModelMetadata(request)
    assert reply.model_spec.name == model
    found = pb.SignatureDefMap()
    assert reply.metadata["signature_def"].Unpack(found)
    return dict(found.signature_def)


def told(info: tf.TensorInfo) -> tuple[Any, list[int]]:
    return info.dtype, [dim.size for dim in info.tensor_shape.dim]


@pytest.mark.parametrize("signature", ["", "serving_default", "classify"])
def test_each_example_gets_its_classes(stub: Any, signature: str) -> None:
    """All of them, the best first, with their labels."""
    spec = pb.ModelSpec(name="colours", signature_name=signature)
    reply = stub.Classify(pb.ClassificationRequest(model_spec=spec, input=examples(GREEN, RED)))
    first, second = reply.result.classifications
    scores = [(one.label, round(one.score, 3)) for one in first.classes]
    assert scores == [("green", 0.8), ("blue", 0.4), ("red", 0.2)]
    assert second.classes[0].label == "red"
    assert (reply.model_spec.name, reply.model_spec.version.value) == ("colours", 1)


def test_examples_may_have_the_picture_in_common(stub: Any) -> None:
    """An example without the feature has that of the context."""
    both = pb.Input()
    both.example_list_with_context.examples.add()
    with_context = both.example_list_with_context
    with_context.context.CopyFrom(examples(RED).example_list.examples[0])
    with_context.examples.append(examples(GREEN).example_list.examples[0])
    reply = stub.Classify(pb.ClassificationRequest(model_spec=COLOURS, input=both))
    assert [one.classes[0].label for one in reply.result.classifications] == ["red", "green"]


def without_bytes() -> pb.Input:
    made = pb.Input()
    feature = made.example_list.examples.add().features.feature
    feature["image/encoded"].float_list.value.append(1)
    return made


def two_pictures() -> pb.Input:
    made = examples(RED)
    feature = made.example_list.examples[0].features.feature["image/encoded"]
    feature.bytes_list.value.append(GREEN)
    return made


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (pb.Input(), "input is empty, expected example_list"),
        (pb.Input(example_list=pb.ExampleList()), "input.example_list.examples is empty"),
        (
            examples(RED, feature="x"),
            "input.example_list.examples[0]: expected one JPEG or PNG in the feature "
            "'image/encoded', got the features x",
        ),
        (without_bytes(), "got 0 values of bytes in that feature"),
        (two_pictures(), "got 2 values of bytes in that feature"),
        (examples(GREEN, b"GIF89a"), "images[1]: "),
    ],
)
def test_an_example_has_one_picture(stub: Any, given: pb.Input, text: str) -> None:
    """Anything else is refused, with its place."""
    request = pb.ClassificationRequest(model_spec=COLOURS, input=given)
    code, details = refusal(stub.Classify, request)
    assert (code, text in details) == (INVALID, True), details


@pytest.mark.parametrize(
    ("spec", "code", "text"),
    [
        (pb.ModelSpec(), INVALID, "model_spec.name is empty"),
        (pb.ModelSpec(name="simple"), INVALID, "'simple' takes no pictures"),
        (pb.ModelSpec(name="nobody"), StatusCode.NOT_FOUND, "Request for unknown model"),
        (
            pb.ModelSpec(name="colours", signature_name="regress"),
            INVALID,
            "Serving signature key \"regress\" not found: 'colours' is asked for serving_default",
        ),
    ],
)
def test_who_classifies_is_a_classifier(
    stub: Any, spec: pb.ModelSpec, code: StatusCode, text: str
) -> None:
    """Others say why they do not."""
    request = pb.ClassificationRequest(model_spec=spec, input=examples(RED))
    found, details = refusal(stub.Classify, request)
    assert (found, text in details) == (code, True), details


def test_metadata_has_the_tensors_of_a_model(stub: Any) -> None:
    """Their types and shapes; any size is -1."""
    (signature,) = metadata(stub, "simple").items()
    name, predicts = signature
    assert (name, predicts.method_name) == ("serving_default", "tensorflow/serving/predict")
    assert {name: told(one) for name, one in predicts.inputs.items()} == {
        "INPUT0": (tf.DT_INT32, [-1, 16]),
        "INPUT1": (tf.DT_INT32, [-1, 16]),
    }
    assert predicts.outputs.keys() == {"OUTPUT0", "OUTPUT1"}


def test_a_classifier_has_a_signature_for_it(stub: Any) -> None:
    """Beside the one of its tensors."""
    found = metadata(stub, "colours")
    assert found.keys() == {"serving_default", "classify"}
    assert told(found["serving_default"].inputs["image"]) == (tf.DT_UINT8, [-1, 8, 8, 3])
    classify = found["classify"]
    assert classify.method_name == "tensorflow/serving/classify"
    assert told(classify.inputs["inputs"]) == (tf.DT_STRING, [-1])
    assert {name: told(one) for name, one in classify.outputs.items()} == {
        "classes": (tf.DT_STRING, [-1, -1]),
        "scores": (tf.DT_FLOAT, [-1, -1]),
    }


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ([], "metadata_field is none, expected 'signature_def'"),
        (["other"], "metadata_field is 'other', expected 'signature_def'"),
    ],
)
def test_metadata_is_of_signatures_alone(stub: Any, fields: list[str], text: str) -> None:
    """There is no other."""
    request = pb.GetModelMetadataRequest(model_spec=COLOURS, metadata_field=fields)
    assert refusal(stub.GetModelMetadata, request) == (INVALID, text)


def status(states: Any, **spec: Any) -> list[Any]:
    request = status_pb.GetModelStatusRequest(model_spec=pb.ModelSpec(**spec))
    return list(states.GetModelStatus(request).model_version_status)


def test_the_status_of_a_model_is_that_of_its_versions(states: Any) -> None:
    """The newest first; or of the version that is asked for."""
    found = status(states, name="counted")
    assert [(one.version, one.state) for one in found] == [(3, 30), (1, 30)]
    assert all(one.status == status_pb.StatusProto() for one in found)
    one = pb.ModelSpec(name="counted")
    one.version.value = 1
    only = states.GetModelStatus(status_pb.GetModelStatusRequest(model_spec=one))
    assert [each.version for each in only.model_version_status] == [1]


@pytest.mark.parametrize(("name", "version"), [("nobody", 0), ("counted", 7)])
def test_the_status_of_what_nobody_knows(states: Any, name: str, version: int) -> None:
    """It is not found."""
    spec = pb.ModelSpec(name=name)
    if version:
        spec.version.value = version
    request = status_pb.GetModelStatusRequest(model_spec=spec)
    code, details = refusal(states.GetModelStatus, request)
    assert (code, details.startswith("Request for unknown model: ")) == (StatusCode.NOT_FOUND, True)


def test_the_status_follows_loads_and_unloads(tmp_path: Path) -> None:
    """A version that failed says why, one that was unloaded has ended."""
    models.write(tmp_path / "m", "gather", models.gather())
    models.write(tmp_path / "m", "broken", models.gather(), "max_batch_size: -1")
    options = ["--model-control-mode", "explicit", "--load-model", "*", "--no-exit-on-error"]
    with (
        serving(tmp_path / "m", tmp_path / "log", *options) as running,
        grpc.insecure_channel(running.address) as channel,
    ):
        states = ModelServiceStub(channel)
        control = GRPCInferenceServiceStub(channel)
        (broken,) = status(states, name="broken")
        assert broken.state == status_pb.ModelVersionStatus.END
        assert broken.status.error_code == 2
        assert "max_batch_size is -1" in broken.status.error_message
        control.RepositoryModelUnload(oip.RepositoryModelUnloadRequest(model_name="gather"))
        (ended,) = status(states, name="gather")
        assert ended.state in (
            status_pb.ModelVersionStatus.UNLOADING,
            status_pb.ModelVersionStatus.END,
        )
        assert ended.status.error_code == 0
        request = predict("gather", index=tensor(tf.DT_INT64, (1, 1), int64_val=[1]))
        assert refusal(PredictionServiceStub(channel).Predict, request)[0] == StatusCode.UNAVAILABLE


def test_what_is_not_served_says_so(stub: Any, states: Any) -> None:
    """With what there is instead."""
    for call, request, text in (
        (stub.Regress, pb.RegressionRequest(model_spec=COLOURS), "Regress is not supported"),
        (stub.MultiInference, pb.MultiInferenceRequest(), "MultiInference is not supported"),
        (
            states.HandleReloadConfigRequest,
            status_pb.ReloadConfigRequest(),
            "HandleReloadConfigRequest is not supported",
        ),
    ):
        code, details = refusal(call, request)
        assert (code, text in details) == (UNIMPLEMENTED, True), details
