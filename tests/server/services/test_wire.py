"""ModelInferRequest is read as protobuf reads it, with the raw tensors left in place."""

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from crossrun.oip import grpc_service_pb2 as pb
from crossrun_server.services import wire


def request(*raw: bytes, name: str = "model") -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=name, id="7", raw_input_contents=raw)
    for place in range(len(raw)):
        message.inputs.add(name=f"x{place}", datatype="UINT8", shape=[1, 300])
    message.outputs.add(name="y").parameters["classification"].int64_param = 3
    return message


def without_raw(message: pb.ModelInferRequest) -> pb.ModelInferRequest:
    rest = pb.ModelInferRequest()
    rest.CopyFrom(message)
    del rest.raw_input_contents[:]
    return rest


@given(sizes=st.lists(st.integers(0, 20_000), max_size=4), name=st.text(max_size=300))
@settings(max_examples=50)
def test_a_request_is_what_protobuf_says(sizes: list[int], name: str) -> None:
    """Of any size and number of tensors: the same message, the same tensors, in their order."""
    raw = [bytes([place + 1]) * size for place, size in enumerate(sizes)]
    message = request(*raw, name=name)
    found = wire.read(message.SerializeToString())
    assert [bytes(one) for one in found.raw] == raw
    assert without_raw(found.message) == without_raw(message)


def test_a_large_tensor_is_not_copied() -> None:
    """A raw tensor is a view of the received bytes, not a copy."""
    data = request(b"x" * 150_000).SerializeToString()
    (raw,) = wire.read(data).raw
    assert isinstance(raw, memoryview)
    assert np.shares_memory(np.frombuffer(raw, np.uint8), np.frombuffer(data, np.uint8))


@pytest.mark.parametrize("cut", [1, 100, 5000])
def test_a_message_that_is_cut_off_is_refused(cut: int) -> None:
    """Bytes that are not a message raise DecodeError, as with protobuf itself."""
    data = request(b"x" * 10_000).SerializeToString()
    with pytest.raises(DecodeError):
        wire.read(data[:-cut])


@pytest.mark.parametrize("start", [b"\x0b\x0c", b"\x09" + bytes(8), b"\x0d" + bytes(4), b"\x07"])
def test_fields_of_other_kinds_are_left_to_protobuf(start: bytes) -> None:
    """Groups, and fields of a fixed size that the message does not have."""
    data = start + request(b"x" * 10_000).SerializeToString()
    try:
        expected = pb.ModelInferRequest.FromString(data)
    except DecodeError:
        with pytest.raises(DecodeError):
            wire.read(data)
        return
    found = wire.read(data)
    assert [bytes(one) for one in found.raw] == list(expected.raw_input_contents)
    assert found.message.model_name == expected.model_name
