"""What the native front end reads itself is what protobuf reads, and what it writes, too."""

from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support.requests import simple

crossrun_front: Any = pytest.importorskip(
    "crossrun_front", reason="the native front end is not installed"
)

NAMES = st.text(max_size=20)
SIZES = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5)
RAW = st.binary(max_size=300)


@st.composite
def plain_requests(draw: st.DrawFn) -> pb.ModelInferRequest:
    """Requests without parameters; no input and no output is named twice."""
    inputs = draw(
        st.lists(st.tuples(NAMES, NAMES, SIZES, RAW), max_size=4, unique_by=lambda x: x[0])
    )
    message = pb.ModelInferRequest(
        model_name=draw(NAMES), model_version=draw(NAMES), id=draw(NAMES)
    )
    for name, datatype, shape, raw in inputs:
        message.inputs.add(name=name, datatype=datatype, shape=shape)
        message.raw_input_contents.append(raw)
    for name in draw(st.lists(NAMES, max_size=4, unique=True)):
        message.outputs.add(name=name)
    return message


def read(data: bytes) -> pb.ModelInferRequest | None:
    """Read bytes as the native front end does, and make a message of what it found."""
    found = crossrun_front.Message(data).plain_request()
    if found is None:
        return None
    model, version, id_, inputs, outputs = found
    message = pb.ModelInferRequest(model_name=model, model_version=version, id=id_)
    for name, datatype, shape, begin, end in inputs:
        message.inputs.add(name=name, datatype=datatype, shape=shape)
        message.raw_input_contents.append(data[begin:end])
    for name in outputs:
        message.outputs.add(name=name)
    return message


@given(plain_requests())
def test_a_plain_request_is_what_protobuf_says(message: pb.ModelInferRequest) -> None:
    """All of it: names, shapes, and where each tensor lies."""
    assert read(message.SerializeToString()) == message


@given(plain_requests(), st.data())
@settings(max_examples=300)
def test_of_damaged_requests_nothing_else_is_read(
    message: pb.ModelInferRequest, data: st.DataObject
) -> None:
    """Bytes that are cut or changed are left to protobuf, or read as it reads them."""
    damaged = bytearray(message.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    del damaged[data.draw(st.integers(0, len(damaged))) :]
    found = read(bytes(damaged))
    if found is not None:
        assert found == pb.ModelInferRequest.FromString(bytes(damaged))


def changed(change: str) -> pb.ModelInferRequest:
    """A request that is plain but for one thing."""
    message = simple(1)
    match change:
        case "parameter":
            message.parameters["priority"].int64_param = 1
        case "parameter of an input":
            message.inputs[0].parameters["x"].bool_param = True
        case "parameter of an output":
            message.outputs.add(name="y").parameters["classification"].int64_param = 1
        case "typed values":
            message.inputs[0].contents.int_contents.append(1)
        case "an input without values":
            del message.raw_input_contents[1]
        case "an input twice":
            message.inputs[1].name = message.inputs[0].name
        case "an output twice":
            message.outputs.add(name="y")
            message.outputs.add(name="y")
        case "very many inputs":
            for number in range(100):
                message.inputs.add(name=f"x{number}")
                message.raw_input_contents.append(b"")
    return message


@pytest.mark.parametrize(
    "change",
    [
        "parameter",
        "parameter of an input",
        "parameter of an output",
        "typed values",
        "an input without values",
        "an input twice",
        "an output twice",
        "very many inputs",
    ],
)
def test_all_that_is_not_plain_is_left_to_protobuf(change: str) -> None:
    data = changed(change).SerializeToString()
    assert read(simple(1).SerializeToString()) is not None
    assert read(data) is None


@pytest.mark.parametrize("data", [b"\xff" * 11, b"\x0a\x05ab", b"\x0a\x01\xff", b"\x0b\x0c"])
def test_what_is_malformed_is_left_to_protobuf(data: bytes) -> None:
    """A number without end, a name that is cut off, one that is no UTF-8; and a group."""
    assert read(data) is None
    try:
        pb.ModelInferRequest.FromString(data)
    except DecodeError:
        return
    assert data == b"\x0b\x0c"


def test_a_message_is_read_where_it_lies() -> None:
    """numpy looks at the bytes of the message itself, which nobody can write to."""
    message = crossrun_front.Message(b"\0\1\2\3")
    one, other = (np.frombuffer(message, np.uint8) for _ in range(2))
    assert one.tolist() == [0, 1, 2, 3]
    assert np.shares_memory(one, other)
    assert not one.flags.writeable


def test_answers_are_what_protobuf_would_write(channel: Any) -> None:
    """Their order, their shapes and their bytes, of one output and of all."""
    for outputs in ((), ("OUTPUT1",), ("OUTPUT1", "OUTPUT0")):
        request = simple(5, 6, outputs=outputs)
        request.id = "seven"
        answer = Stub(channel).ModelInfer(request)
        assert (answer.id, answer.model_name, answer.model_version) == ("seven", "simple", "1")
        assert [one.name for one in answer.outputs] == list(outputs or ("OUTPUT0", "OUTPUT1"))
        for one, raw in zip(answer.outputs, answer.raw_output_contents, strict=True):
            assert one.datatype == "INT32"
            values = np.frombuffer(raw, np.int32).reshape(one.shape)
            expected = [6, 7] if one.name == "OUTPUT0" else [4, 5]
            assert values.tolist() == [[value] * 16 for value in expected]
