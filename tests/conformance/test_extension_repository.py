"""The model_repository extension: index, load, unload, and a load with another configuration.

Loading needs a target that lets its callers do it (Triton: --model-control-mode=explicit).
"""

import json
from collections.abc import Iterator

import grpc
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from tests.conformance.messages import read, request, tensor
from tests.conformance.target import NOBODY, Target, code_of

pytestmark = pytest.mark.extension("model_repository")
MODEL = "oip_loadable"
LIMIT = 8
REFUSED = (
    StatusCode.UNAVAILABLE,
    StatusCode.FAILED_PRECONDITION,
    StatusCode.PERMISSION_DENIED,
    StatusCode.UNIMPLEMENTED,
)
GONE = (StatusCode.NOT_FOUND, StatusCode.UNAVAILABLE)


@pytest.fixture
def controlled(target: Target) -> Iterator[Target]:
    """A target that loads models when told to, with the suite's model for that loaded.

    Afterwards the model is loaded again as it lies on disk.
    """
    try:
        load(target)
    except grpc.RpcError as error:
        if code_of(error) in REFUSED:
            pytest.skip("the target does not load models on demand")
        if NOBODY in str(error) or MODEL in str(error):
            pytest.skip(f"the target cannot load {MODEL}")
        raise
    yield target
    load(target)


def load(target: Target, **parameters: str | bytes) -> None:
    message = pb.RepositoryModelLoadRequest(model_name=MODEL)
    for name, value in parameters.items():
        if isinstance(value, bytes):
            message.parameters[name].bytes_param = value
        else:
            message.parameters[name].string_param = value
    target.call("RepositoryModelLoad", message)


def unload(target: Target) -> None:
    target.call("RepositoryModelUnload", pb.RepositoryModelUnloadRequest(model_name=MODEL))


def index(target: Target, ready: bool = False) -> dict[tuple[str, str], str]:
    """List the states of the models, by name and version."""
    answer = target.call("RepositoryIndex", pb.RepositoryIndexRequest(ready=ready))
    return {(entry.name, entry.version): entry.state for entry in answer.models}


def answer(target: Target, rows: int = 1) -> tuple[float, str]:
    """Infer with 1.0; gives the answer and the version that gave it."""
    message = request(MODEL, [tensor("x", "FP32", [1.0] * rows, (rows, 1))])
    response = target.call("ModelInfer", message)
    return read(response)["y"].values.tolist()[0][0], response.model_version


def override(**fields: object) -> str:
    """Write the model's configuration as JSON, with some fields changed."""
    return json.dumps(
        {
            "name": MODEL,
            "backend": "onnxruntime",
            "max_batch_size": LIMIT,
            "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": [1]}],
            "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [1]}],
            **fields,
        }
    )


def test_the_index_lists_each_version(target: Target) -> None:
    """Every served version is READY."""
    target.need("oip_simple")
    target.need("oip_versions")
    states = index(target)
    for key in (("oip_simple", "1"), ("oip_versions", "1"), ("oip_versions", "3")):
        assert states[key] == "READY"


def test_the_index_of_what_is_ready(target: Target) -> None:
    """With `ready`, only what is READY is listed."""
    target.need("oip_simple")
    states = index(target, ready=True)
    assert states["oip_simple", "1"] == "READY"
    assert set(states.values()) == {"READY"}


def test_loading_what_is_not_there(target: Target) -> None:
    """A model that no repository holds cannot be loaded, and the error names it."""
    code, text = target.refusal(
        "RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name=NOBODY)
    )
    if code in REFUSED:
        pytest.skip("the target does not load models on demand")
    assert NOBODY in text
    target.check_health()


def test_unloading_and_loading(controlled: Target) -> None:
    """An unloaded model is gone from all answers, and is back once it is loaded again."""
    assert answer(controlled) == (11.0, "1")
    unload(controlled)
    assert not controlled.ready(MODEL)
    assert (MODEL, "1") not in index(controlled, ready=True)
    assert index(controlled).get((MODEL, "1"), "UNAVAILABLE") in ("UNAVAILABLE", "UNLOADING")
    assert controlled.attempt("ModelInfer", request(MODEL, [tensor("x", "FP32", [1.0])])) in GONE
    load(controlled)
    assert controlled.ready(MODEL)
    assert index(controlled, ready=True)[MODEL, "1"] == "READY"
    assert answer(controlled) == (11.0, "1")


def test_loading_what_is_loaded(controlled: Target) -> None:
    """A model that is loaded may be loaded again."""
    load(controlled)
    assert answer(controlled) == (11.0, "1")


def test_unloading_leaves_the_others(controlled: Target) -> None:
    """An unloaded model takes no other with it."""
    unload(controlled)
    controlled.check_health()


def test_loading_with_another_configuration(controlled: Target) -> None:
    """The configuration sent along holds until the model is loaded without one."""
    load(controlled, config=override(max_batch_size=2))
    assert most(controlled) == 2
    answer(controlled, rows=2)
    too_many = request(MODEL, [tensor("x", "FP32", [1.0] * 3, (3, 1))])
    assert controlled.attempt("ModelInfer", too_many) == StatusCode.INVALID_ARGUMENT
    load(controlled)
    assert most(controlled) == LIMIT


def most(target: Target) -> int:
    target.need_extension("model_configuration")
    found: int = target.call("ModelConfig", pb.ModelConfigRequest(name=MODEL)).config.max_batch_size
    return found


@pytest.mark.parametrize(
    "config", ["{", '{"max_batch_size": "many"}', '{"no_such_field": 1}', '{"name": "oip_other"}']
)
def test_a_configuration_that_cannot_be(controlled: Target, config: str) -> None:
    """A load that fails names the model, and what was loaded goes on answering."""
    message = pb.RepositoryModelLoadRequest(model_name=MODEL)
    message.parameters["config"].string_param = config
    _, text = controlled.refusal("RepositoryModelLoad", message)
    assert MODEL in text
    assert answer(controlled) == (11.0, "1")


def test_loading_another_file(controlled: Target) -> None:
    """A model sent along is served in the version it was sent as, until the next plain load."""
    from tests.conformance import models

    sent = models.plus(100).SerializeToString()
    load(controlled, config=override(), **{"file:7/model.onnx": sent})
    assert answer(controlled) == (101.0, "7")
    load(controlled)
    assert answer(controlled) == (11.0, "1")


def test_a_file_without_a_configuration(controlled: Target) -> None:
    """A model sent along needs its configuration sent along, as Triton has it."""
    message = pb.RepositoryModelLoadRequest(model_name=MODEL)
    message.parameters["file:7/model.onnx"].bytes_param = b"anything"
    controlled.refusal("RepositoryModelLoad", message)
    assert answer(controlled) == (11.0, "1")


def test_a_file_that_is_no_model(controlled: Target) -> None:
    """A model sent along that cannot be read is an error, and the one before goes on."""
    message = pb.RepositoryModelLoadRequest(model_name=MODEL)
    message.parameters["config"].string_param = override()
    message.parameters["file:7/model.onnx"].bytes_param = b"this is no ONNX"
    _, text = controlled.refusal("RepositoryModelLoad", message)
    assert MODEL in text
    assert answer(controlled) == (11.0, "1")
