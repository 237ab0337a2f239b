"""ModelInfer: names, versions, ids, several inputs and outputs, shapes, batches."""

import numpy as np
import pytest
from grpc import StatusCode

from tests.conformance.datatypes import array
from tests.conformance.messages import Tensor, identity, read, request, simple, tensor
from tests.conformance.target import Target

MIXED = [
    tensor("a", "FP32", [1.5, -2.5]),
    tensor("b", "INT64", [2**62, -3, 5]),
    tensor("c", "BYTES", [b"", b"parrot"]),
]


def check_mixed(outputs: dict[str, Tensor]) -> None:
    """Every output of `oip_mixed` is the input of its name."""
    assert set(outputs) == {f"{item.name}_out" for item in MIXED}
    for item in MIXED:
        outputs[f"{item.name}_out"].check(item.datatype, item.values)


def first_values(outputs: dict[str, Tensor]) -> dict[str, list[object]]:
    return {name: output.values[:, 0].tolist() for name, output in outputs.items()}


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_several_inputs_and_outputs(target: Target, typed: bool) -> None:
    """Each output arrives under its name with its own values."""
    outputs = target.outputs(simple(5, 7, typed=typed))
    assert first_values(outputs) == {"OUTPUT0": [6, 8], "OUTPUT1": [4, 6]}
    assert {output.datatype for output in outputs.values()} == {"INT32"}


def test_inputs_in_another_order(target: Target) -> None:
    """Inputs are known by name, not by position."""
    message = request(
        "oip_simple",
        [Tensor(name, "INT32", np.full((1, 16), value, np.int32))
         for name, value in (("INPUT1", 1), ("INPUT0", 9))],
    )  # fmt: skip
    assert first_values(target.outputs(message)) == {"OUTPUT0": [10], "OUTPUT1": [8]}


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_inputs_of_unlike_datatypes(target: Target, order: str) -> None:
    """A model's inputs may differ in datatype and shape, and come in any order."""
    sent = {item.name: item for item in MIXED}
    outputs = target.outputs(request("oip_mixed", [sent[name] for name in order]))
    check_mixed(outputs)


def test_inputs_of_unlike_datatypes_typed(target: Target) -> None:
    """Typed contents of several datatypes go in one request."""
    outputs = target.outputs(request("oip_mixed", MIXED, typed=True))
    check_mixed(outputs)


@pytest.mark.parametrize("asked", [["OUTPUT0"], ["OUTPUT1"], ["OUTPUT0", "OUTPUT1"]])
def test_only_the_outputs_asked_for(target: Target, asked: list[str]) -> None:
    """A request that names outputs gets those and no others, each with its own values."""
    values = {"OUTPUT0": [6], "OUTPUT1": [4]}
    outputs = target.outputs(simple(5, outputs=asked))
    assert first_values(outputs) == {name: values[name] for name in asked}


def test_outputs_in_another_order(target: Target) -> None:
    """Outputs asked for in another order keep their own values."""
    outputs = target.outputs(simple(5, outputs=["OUTPUT1", "OUTPUT0"]))
    assert first_values(outputs) == {"OUTPUT1": [4], "OUTPUT0": [6]}


@pytest.mark.parametrize("identifier", ["1", "an id with spaces", "Ünïcode-🦜", "x" * 1000])
def test_the_id_comes_back(target: Target, identifier: str) -> None:
    """The response carries the id of its request."""
    assert target.infer(simple(5, identifier=identifier)).id == identifier


def test_no_id_comes_back_without_one(target: Target) -> None:
    """A request without an id is answered without one."""
    assert target.infer(simple(5)).id == ""


def test_the_response_names_the_model(target: Target) -> None:
    """The response names the model that answered, and its version."""
    response = target.infer(simple(5))
    assert (response.model_name, response.model_version) == ("oip_simple", "1")


@pytest.mark.parametrize("version", ["1", "3"])
def test_a_version_can_be_chosen(target: Target, version: str) -> None:
    """The version asked for answers, and says so."""
    message = request("oip_versions", [tensor("x", "FP32", [10.0])], version=version)
    response = target.infer(message)
    assert response.model_version == version
    assert read(response)["y"].values.tolist() == [[10.0 + int(version)]]


def test_without_a_version_one_is_chosen(target: Target) -> None:
    """Without a version the server chooses one, and what it names is what answered."""
    response = target.infer(request("oip_versions", [tensor("x", "FP32", [10.0])]))
    assert response.model_version in ("1", "3")
    assert read(response)["y"].values.tolist() == [[10.0 + int(response.model_version)]]


@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
@pytest.mark.parametrize("rank", range(6))
def test_each_rank(target: Target, rank: int, typed: bool) -> None:
    """A tensor of any rank from a scalar to five dimensions keeps shape and order."""
    shape = (2, 3, 1, 4, 5)[:rank]
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    sent = Tensor("x", "FP32", values)
    outputs = target.outputs(request(f"oip_rank{rank}", [sent], typed=typed))
    outputs["y"].check("FP32", values)


@pytest.mark.parametrize("model", ["oip_identity_fp32", "oip_simple"])
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8])
def test_each_batch(target: Target, model: str, rows: int) -> None:
    """One row to the model's most: every row comes back in its place."""
    if model == "oip_simple":
        outputs = target.outputs(simple(*range(rows)))
        assert outputs["OUTPUT0"].values[:, 0].tolist() == list(range(1, rows + 1))
        return
    message = identity("FP32", [float(i) for i in range(rows * 3)], (rows, 3))
    assert target.outputs(message)["y"].values.ravel().tolist() == list(range(rows * 3))


@pytest.mark.parametrize("datatype", ["FP32", "INT8", "BYTES"])
@pytest.mark.parametrize("typed", [False, True], ids=["raw", "typed"])
def test_a_tensor_of_no_elements(target: Target, datatype: str, typed: bool) -> None:
    """A zero in the shape means no data, where the server takes such tensors at all.

    The protocol does not say that it must: INVALID_ARGUMENT is an answer too.
    """
    message = identity(datatype, [], (1, 0), typed)
    target.need(message.model_name)
    if not typed:
        assert list(message.raw_input_contents) == [b""]
    outcome = target.attempt("ModelInfer", message)
    if outcome is StatusCode.INVALID_ARGUMENT:
        pytest.skip("the target refuses tensors of no elements")
    read(outcome)["y"].check(datatype, array(datatype, [], (1, 0)))
