"""The classification extension over a real connection, and its strings on their own."""

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.errors import InvalidRequest
from crossrun_server.tensors.classification import MAX_CLASSES, classify
from tests.support.requests import refusal, strings

SCORES = {"red": [255, 0, 51], "blue": [0, 102, 255]}


def colours(*names: str, classes: int = 2) -> pb.ModelInferRequest:
    """A request that asks for the best classes of one-coloured pictures."""
    message = pb.ModelInferRequest(model_name="colours")
    message.inputs.add(name="image", datatype="UINT8", shape=[len(names), 8, 8, 3])
    pixels = b"".join(np.tile(np.array(SCORES[n], np.uint8), 64).tobytes() for n in names)
    message.raw_input_contents.append(pixels)
    message.outputs.add(name="scores").parameters["classification"].int64_param = classes
    return message


def two_faced(values: list[float]) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name="two_faced")
    message.inputs.add(name="x", datatype="FP32", shape=[3])
    message.raw_input_contents.append(np.array(values, np.float32).tobytes())
    return message


def test_each_row_of_a_batch_becomes_its_best_classes(channel: grpc.Channel) -> None:
    """An output is answered as BYTES [batch, k] of score:index:label, best first."""
    reply = Stub(channel).ModelInfer(colours("red", "blue"))
    (output,) = reply.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("scores", "BYTES", [2, 2])
    assert strings(reply.raw_output_contents[0]) == [
        "1.000000:0:red", "0.200000:2:blue", "1.000000:2:blue", "0.400000:1:green",
    ]  # fmt: skip


def test_more_classes_than_there_are_gives_all(channel: grpc.Channel) -> None:
    """Asking for more classes than there are is not an error."""
    reply = Stub(channel).ModelInfer(colours("red", classes=2**40))
    assert list(reply.outputs[0].shape) == [1, 3]
    assert strings(reply.raw_output_contents[0])[2] == "0.000000:1:green"


def test_every_output_has_its_own_labels_and_only_where_asked(channel: grpc.Channel) -> None:
    """Without a batch dimension it is [k]; whole numbers have no point; no label, no colon."""
    message = two_faced([1.5, 2.0, 2.0])
    message.outputs.add(name="animal").parameters["classification"].int64_param = 3
    message.outputs.add(name="mood").parameters["classification"].int64_param = 2
    reply = Stub(channel).ModelInfer(message)
    assert [list(output.shape) for output in reply.outputs] == [[3], [2]]
    assert strings(reply.raw_output_contents[0]) == [
        "2.000000:1",
        "2.000000:2:dog",
        "1.500000:0:cat",
    ]
    assert strings(reply.raw_output_contents[1]) == ["2:1:wild", "2:2"]
    del message.outputs[1].parameters["classification"]
    mood = Stub(channel).ModelInfer(message).raw_output_contents[1]
    assert np.frombuffer(mood, np.int32).tolist() == [1, 2, 2]


@pytest.mark.parametrize("classes", [0, -1])
def test_fewer_than_one_class_is_refused(channel: grpc.Channel, classes: int) -> None:
    """The message names the output and what was expected."""
    code, details = refusal(Stub(channel).ModelInfer, colours("red", classes=classes))
    assert code == StatusCode.INVALID_ARGUMENT
    assert details == (
        f"invalid value for 'classification' parameter of output 'scores': {classes}, expected >= 1"
    )


def test_a_number_of_classes_has_to_be_one(channel: grpc.Channel) -> None:
    """A parameter that holds a text is refused, not read as a number."""
    message = colours("red")
    message.outputs[0].parameters["classification"].string_param = "2"
    expected = "invalid value type for 'classification' parameter, expected int64_param"
    assert refusal(Stub(channel).ModelInfer, message) == (StatusCode.INVALID_ARGUMENT, expected)


@pytest.mark.parametrize("datatype", ["BYTES", "BOOL", "FP16", "BF16"])
def test_an_output_without_scores_has_no_classes(channel: grpc.Channel, datatype: str) -> None:
    """A datatype that Triton cannot rank is refused by its name; so is BF16."""
    message = pb.ModelInferRequest(model_name=f"identity_{datatype.lower()}")
    message.inputs.add(name="x", datatype=datatype, shape=[1, 1])
    sizes = {"BYTES": 4, "BOOL": 1, "FP16": 2, "BF16": 2}
    message.raw_input_contents.append(bytes(sizes[datatype]))
    message.outputs.add(name="y").parameters["classification"].int64_param = 1
    code, details = refusal(Stub(channel).ModelInfer, message)
    assert code == StatusCode.INVALID_ARGUMENT
    assert details.startswith("output 'y': class result not available")
    assert details.endswith(f"unsupported type {datatype!r}")


def test_an_output_asked_for_twice_is_refused(channel: grpc.Channel) -> None:
    """An output asked for in two ways that exclude each other is refused."""
    message = colours("red")
    message.outputs.add(name="scores")
    assert refusal(Stub(channel).ModelInfer, message)[1] == "output 'scores' is asked for twice"


@pytest.mark.parametrize("datatype", ["UINT8", "INT8", "UINT64", "INT64"])
def test_integers_rank_to_the_ends_of_their_range(datatype: str) -> None:
    """The least and the greatest value of a type keep their places."""
    dtype = np.dtype(datatype.lower())
    least, greatest = np.iinfo(dtype).min, np.iinfo(dtype).max
    scores = np.array([[least, greatest, 1, greatest]], dtype)
    expected = [f"{greatest}:1", f"{greatest}:3", "1:2", f"{least}:0"]
    assert classify(scores, datatype, 4, batched=True).tolist() == [expected]


def test_equal_scores_rank_by_index() -> None:
    """Of many classes with one score the lowest indices come first."""
    scores = np.array([[0.25, 0.5] * 500], np.float32)
    expected = [f"0.500000:{i}" for i in range(1, 200, 2)]
    assert classify(scores, "FP32", 100, batched=True).tolist() == [expected]


def test_what_is_no_number_ranks_last() -> None:
    """NaN is never the best class, infinity is."""
    scores = np.array([np.nan, 1e10, np.inf], np.float64)
    found = classify(scores, "FP64", 9, batched=False, labels=["a"])
    assert found.tolist() == ["inf:2", "10000000000.000000:1", "nan:0:a"]


def test_odd_shapes_have_as_many_classes_as_values() -> None:
    """All dimensions past the batch are one row; a scalar is one class; nothing is none."""
    assert classify(np.zeros((2, 3, 4), np.float32), "FP32", 99, batched=True).shape == (2, 12)
    assert classify(np.zeros((), np.float32), "FP32", 1, batched=True).tolist() == ["0.000000:0"]
    assert classify(np.zeros((2, 0), np.float32), "FP32", 1, batched=True).shape == (2, 0)
    assert classify(np.zeros((0, 3), np.float32), "FP32", 1, batched=True).shape == (0, 1)


def test_too_many_classes_are_refused() -> None:
    """A row that would take long to sort is refused."""
    with pytest.raises(InvalidRequest, match="too large: 1000001 classes"):
        classify(np.zeros(MAX_CLASSES + 1, np.int8), "INT8", 1, batched=False)
