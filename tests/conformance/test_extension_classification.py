"""The classification extension: the best classes of an output instead of its values."""

import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from tests.conformance.messages import Tensor, read, request, simple, tensor
from tests.conformance.target import Target

pytestmark = pytest.mark.extension("classification")
SCORES = [0.25, 4.0, -1.5, 2.5]
BEST = [(4.0, "1", "bee"), (2.5, "3", "dog"), (0.25, "0", "ant"), (-1.5, "2", "cat")]


def scored(rows: int = 1, count: int = 1) -> pb.ModelInferRequest:
    """Ask for the best classes of the scores, backwards in every second row."""
    values = [score for row in range(rows) for score in (SCORES[::-1] if row % 2 else SCORES)]
    message = request("oip_classify", [tensor("x", "FP32", values, (rows, 4))], outputs=["y"])
    message.outputs[0].parameters["classification"].int64_param = count
    return message


def classes(output: Tensor) -> list[list[tuple[float, str, str]]]:
    """Read `value:index:label` of each row."""
    assert output.datatype == "BYTES"
    return [[_parts(text.decode()) for text in row] for row in output.values]


def _parts(text: str) -> tuple[float, str, str]:
    value, index, label = text.split(":")
    return float(value), index, label


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_best_classes(target: Target, count: int) -> None:
    """The output holds value, index and label of the best, best first."""
    output = target.outputs(scored(count=count))["y"]
    assert output.values.shape == (1, count)
    assert classes(output) == [BEST[:count]]


def test_more_classes_than_there_are(target: Target) -> None:
    """Asking for more gives all there are."""
    assert classes(target.outputs(scored(count=100))["y"]) == [BEST]


def test_each_row_is_classified_apart(target: Target) -> None:
    """A batch gives the best classes of each row."""
    output = target.outputs(scored(rows=3))["y"]
    assert [[label for *_, label in row] for row in classes(output)] == [["bee"], ["cat"], ["bee"]]


def test_an_output_without_labels(target: Target) -> None:
    """Without labels a class is value and index."""
    message = simple(5, outputs=["OUTPUT0"])
    message.outputs[0].parameters["classification"].int64_param = 1
    text = target.outputs(message)["OUTPUT0"].values[0, 0].decode()
    value, _, index = text.partition(":")
    assert float(value) == 6
    assert 0 <= int(index) < 16


def test_one_output_of_two(target: Target) -> None:
    """An output that is not to be classified comes as it is."""
    message = simple(5, outputs=["OUTPUT0", "OUTPUT1"])
    message.outputs[0].parameters["classification"].int64_param = 3
    outputs = target.outputs(message)
    assert (outputs["OUTPUT0"].datatype, outputs["OUTPUT0"].values.shape) == ("BYTES", (1, 3))
    assert outputs["OUTPUT1"].values.tolist() == [[4] * 16]


def test_strings_have_no_classes(target: Target) -> None:
    """An output of BYTES cannot be classified."""
    message = request("oip_identity_bytes", [tensor("x", "BYTES", [b"a", b"b"])], outputs=["y"])
    target.need(message.model_name)
    message.outputs[0].parameters["classification"].int64_param = 1
    assert target.refusal("ModelInfer", message)[0] == StatusCode.INVALID_ARGUMENT
    target.check_health()


def test_a_count_that_is_no_integer(target: Target) -> None:
    """The parameter is an int64; anything else is refused by name."""
    message = scored()
    target.need(message.model_name)
    message.outputs[0].parameters["classification"].string_param = "2"
    code, text = target.refusal("ModelInfer", message)
    assert code == StatusCode.INVALID_ARGUMENT
    assert "classification" in text
    assert classes(read(target.infer(scored()))["y"]) == [BEST[:1]]
