"""ServerLive, ServerReady, ServerMetadata, ModelReady, ModelMetadata."""

import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from tests.conformance.datatypes import NUMPY
from tests.conformance.target import Target


def metadata(target: Target, model: str, version: str = "") -> pb.ModelMetadataResponse:
    target.need(model)
    response: pb.ModelMetadataResponse = target.call(
        "ModelMetadata", pb.ModelMetadataRequest(name=model, version=version)
    )
    return response


def test_the_server_is_live(target: Target) -> None:
    """ServerLive answers true."""
    assert target.call("ServerLive", pb.ServerLiveRequest()).live is True


def test_the_server_is_ready(target: Target) -> None:
    """ServerReady answers true."""
    assert target.call("ServerReady", pb.ServerReadyRequest()).ready is True


def test_the_server_has_a_name_and_a_version(target: Target) -> None:
    """ServerMetadata names the server and its version."""
    said = target.call("ServerMetadata", pb.ServerMetadataRequest())
    assert said.name
    assert said.version


def test_an_extension_is_announced_once(target: Target) -> None:
    """ServerMetadata lists each extension once, by a name."""
    extensions = list(target.metadata.extensions)
    assert len(set(extensions)) == len(extensions)
    assert all(extensions)


@pytest.mark.parametrize("model", ["oip_simple", "oip_identity_fp32", "oip_mixed"])
def test_a_model_is_ready(target: Target, model: str) -> None:
    """ModelReady answers true for a model that is served."""
    target.need(model)
    assert target.call("ModelReady", pb.ModelReadyRequest(name=model)).ready is True


@pytest.mark.parametrize("version", ["1", "3"])
def test_each_version_of_a_model_is_ready(target: Target, version: str) -> None:
    """ModelReady answers for a version that is asked for."""
    target.need("oip_versions")
    message = pb.ModelReadyRequest(name="oip_versions", version=version)
    assert target.call("ModelReady", message).ready is True


@pytest.mark.parametrize(("model", "version"), [("oip_nobody", ""), ("oip_simple", "77")])
def test_an_unknown_model_is_not_ready(target: Target, model: str, version: str) -> None:
    """ModelReady of what is not there answers false, as Triton does, or NOT_FOUND."""
    target.need("oip_simple")
    assert not target.ready(model, version)


@pytest.mark.parametrize("datatype", NUMPY)
def test_metadata_tells_each_datatype(target: Target, datatype: str) -> None:
    """ModelMetadata names inputs and outputs, their datatypes and shapes, -1 for any size."""
    said = metadata(target, f"oip_identity_{datatype.lower()}")
    described = [
        [(entry.name, entry.datatype, list(entry.shape)) for entry in entries]
        for entries in (said.inputs, said.outputs)
    ]
    assert described == [[("x", datatype, [-1, -1])], [("y", datatype, [-1, -1])]]


@pytest.mark.parametrize("rank", range(6))
def test_metadata_tells_each_rank(target: Target, rank: int) -> None:
    """The shape has an entry for each dimension."""
    said = metadata(target, f"oip_rank{rank}")
    assert list(said.inputs[0].shape) == [-1] * rank
    assert list(said.outputs[0].shape) == [-1] * rank


def test_metadata_names_every_input_and_output(target: Target) -> None:
    """A model of several inputs and outputs lists them all, batch dimension included."""
    said = metadata(target, "oip_simple")
    assert {entry.name for entry in said.inputs} == {"INPUT0", "INPUT1"}
    assert {entry.name for entry in said.outputs} == {"OUTPUT0", "OUTPUT1"}
    assert {tuple(entry.shape) for entry in (*said.inputs, *said.outputs)} == {(-1, 16)}


def test_metadata_names_model_and_platform(target: Target) -> None:
    """ModelMetadata gives the model's own name back, and a platform."""
    said = metadata(target, "oip_simple")
    assert said.name == "oip_simple"
    assert said.platform


@pytest.mark.parametrize("version", ["", "3"])
def test_metadata_lists_the_versions(target: Target, version: str) -> None:
    """Every served version of a model is listed, whichever was asked about."""
    assert sorted(metadata(target, "oip_versions", version).versions) == ["1", "3"]


@pytest.mark.parametrize(("model", "version"), [("oip_nobody", ""), ("oip_simple", "77")])
def test_metadata_of_an_unknown_model_is_not_found(
    target: Target, model: str, version: str
) -> None:
    """ModelMetadata of a model or a version that is not there is NOT_FOUND and names it."""
    target.need("oip_simple")
    message = pb.ModelMetadataRequest(name=model, version=version)
    code, text = target.refusal("ModelMetadata", message)
    assert code == StatusCode.NOT_FOUND
    assert model in text
