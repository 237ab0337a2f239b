"""The model_configuration extension: ModelConfig."""

import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip import model_config_pb2
from tests.conformance.datatypes import NUMPY
from tests.conformance.target import NOBODY, Target

pytestmark = pytest.mark.extension("model_configuration")


def configuration(target: Target, model: str, version: str = "") -> model_config_pb2.ModelConfig:
    target.need(model)
    response = target.call("ModelConfig", pb.ModelConfigRequest(name=model, version=version))
    config: model_config_pb2.ModelConfig = response.config
    return config


def test_the_configuration_names_its_model(target: Target) -> None:
    """Name and greatest batch are those of the model's file."""
    config = configuration(target, "oip_simple")
    assert (config.name, config.max_batch_size) == ("oip_simple", 8)


@pytest.mark.parametrize("datatype", NUMPY)
def test_datatypes_and_dims(target: Target, datatype: str) -> None:
    """Inputs and outputs carry their datatype, and dims without the batch."""
    config = configuration(target, f"oip_identity_{datatype.lower()}")
    expected = "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
    for name, (entry,) in (("x", config.input), ("y", config.output)):
        assert entry.name == name
        assert model_config_pb2.DataType.Name(entry.data_type) == expected
        assert list(entry.dims) == [-1]


def test_dims_of_a_model_without_batch(target: Target) -> None:
    """Where max_batch_size is 0, dims are the whole shape."""
    config = configuration(target, "oip_rank3")
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [-1, -1, -1]


def test_the_version_policy(target: Target) -> None:
    """What the model's file says of versions stands in the answer, whichever is asked about."""
    for version in ("", "1", "3"):
        config = configuration(target, "oip_versions", version)
        assert config.version_policy.HasField("all")


def test_dynamic_batching(target: Target) -> None:
    """A model whose requests are batched says so."""
    assert configuration(target, "oip_simple").HasField("dynamic_batching")


def test_labels(target: Target) -> None:
    """An output with labels names their file."""
    assert configuration(target, "oip_classify").output[0].label_filename == "labels.txt"


@pytest.mark.parametrize(("model", "version"), [(NOBODY, ""), ("oip_simple", "77")])
def test_an_unknown_model_has_no_configuration(target: Target, model: str, version: str) -> None:
    """A model or version that is not there is NOT_FOUND, by name."""
    target.need("oip_simple")
    message = pb.ModelConfigRequest(name=model, version=version)
    code, text = target.refusal("ModelConfig", message)
    assert code == StatusCode.NOT_FOUND
    assert model in text
