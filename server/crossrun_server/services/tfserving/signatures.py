"""What TensorFlow Serving's clients call a model: its name, its version and its signatures."""

from typing import Any

from crossrun.tfserving import prediction_service_pb2 as pb
from crossrun.tfserving import tensorflow_pb2 as tf
from crossrun_server.errors import InvalidRequest
from crossrun_server.models.model import Model
from crossrun_server.models.repository import Repository
from crossrun_server.services.tfserving.tensors import FORMS
from crossrun_server.services.vision import fits
from crossrun_server.tensors.tensor_spec import TensorSpec
from crossrun_server.vision import classifier

PREDICT, CLASSIFY = "serving_default", "classify"  # signatures, as GetModelMetadata names them
METHOD = "tensorflow/serving"  # what a signature is for


def version_of(spec: pb.ModelSpec) -> str:
    """Return the version that is asked for; empty for the newest.

    Raises:
        InvalidRequest: no model is named, or a label instead of a version.
    """
    if not spec.name:
        raise InvalidRequest("model_spec.name is empty, expected the name of a model")
    if spec.HasField("version_label"):
        raise InvalidRequest(
            f"model_spec.version_label is {spec.version_label!r}: versions have no labels here, "
            "expected model_spec.version or neither"
        )
    return str(spec.version.value) if spec.HasField("version") else ""


def find(repository: Repository, spec: pb.ModelSpec, *signatures: str) -> Model:
    """Return the model that a request asks.

    Args:
        repository: has the model.
        spec: names it.
        signatures: which of its signatures may be named.

    Raises:
        InvalidRequest: see `version_of`; or another signature is named.
        UnknownModel, ModelUnavailable: see Repository.get.
    """
    model = repository.get(spec.name, version_of(spec))
    if spec.signature_name and spec.signature_name not in signatures:
        raise InvalidRequest(
            f'Serving signature key "{spec.signature_name}" not found: {model.name!r} is asked '
            f"for {' or '.join(signatures)} here"
        )
    return model


def named(model: Model, signature: str = "") -> pb.ModelSpec:
    """Say which model has answered."""
    spec = pb.ModelSpec(name=model.name, signature_name=signature)
    spec.version.value = int(model.version)
    return spec


def describe(model: Model) -> pb.SignatureDefMap:
    """Return the signatures of a model."""
    found = pb.SignatureDefMap()
    predict = found.signature_def[PREDICT]
    predict.method_name = f"{METHOD}/predict"
    for spec in model.config.inputs:
        predict.inputs[spec.name].CopyFrom(_info(spec))
    for spec in model.config.outputs:
        predict.outputs[spec.name].CopyFrom(_info(spec))
    if fits(classifier.describe, model):
        found.signature_def[CLASSIFY].CopyFrom(_classify())
    return found


def _classify() -> tf.SignatureDef:
    """Return the signature of Classify: Examples in, all classes with their scores out."""
    signature = tf.SignatureDef(method_name=f"{METHOD}/classify")
    signature.inputs["inputs"].CopyFrom(_tensor("inputs", tf.DT_STRING, (-1,)))
    signature.outputs["classes"].CopyFrom(_tensor("classes", tf.DT_STRING, (-1, -1)))
    signature.outputs["scores"].CopyFrom(_tensor("scores", tf.DT_FLOAT, (-1, -1)))
    return signature


def _info(spec: TensorSpec) -> tf.TensorInfo:
    return _tensor(spec.name, FORMS[spec.datatype].dtype, spec.shape)


def _tensor(name: str, dtype: Any, shape: tuple[int, ...]) -> tf.TensorInfo:
    info = tf.TensorInfo(name=name, dtype=dtype)
    info.tensor_shape.SetInParent()  # no dimensions are not the same as nothing known of them
    for size in shape:
        info.tensor_shape.dim.add(size=size)
    return info
