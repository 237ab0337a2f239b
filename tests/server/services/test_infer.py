"""ModelInfer over a real connection: every dtype, raw and typed, and every way to get it wrong."""

import math

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.errors import InvalidRequest
from crossrun_server.model_config.reshape import Reshapes
from tests.support.requests import VALUES, raw, refusal, simple

TYPED = {
    "BOOL": "bool_contents", "UINT8": "uint_contents", "UINT16": "uint_contents",
    "UINT32": "uint_contents", "UINT64": "uint64_contents", "INT8": "int_contents",
    "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


def request(model: str, datatype: str, shape: list[int], **kwargs: object) -> pb.ModelInferRequest:
    message = pb.ModelInferRequest(model_name=model, **kwargs)  # type: ignore[arg-type]
    message.inputs.add(name="x", datatype=datatype, shape=shape)
    return message


@pytest.mark.parametrize("datatype", VALUES)
def test_raw_tensors_of_every_dtype_come_back_unchanged(
    channel: grpc.Channel, datatype: str
) -> None:
    """An identity model returns the very bytes that it was sent, whatever the dtype."""
    message = request(f"identity_{datatype.lower()}", datatype, [1, 2], id="seven")
    message.raw_input_contents.append(raw(datatype))
    reply = Stub(channel).ModelInfer(message)
    assert (reply.id, reply.model_version) == ("seven", "1")
    assert [(o.name, o.datatype, list(o.shape)) for o in reply.outputs] == [("y", datatype, [1, 2])]
    assert list(reply.raw_output_contents) == [raw(datatype)]


@pytest.mark.parametrize("datatype", TYPED)
def test_typed_tensors_mean_the_same_as_raw_ones(channel: grpc.Channel, datatype: str) -> None:
    """Values in the typed field of a dtype give the same answer as their raw bytes."""
    message = request(f"identity_{datatype.lower()}", datatype, [1, 2])
    getattr(message.inputs[0].contents, TYPED[datatype]).extend(VALUES[datatype])
    assert list(Stub(channel).ModelInfer(message).raw_output_contents) == [raw(datatype)]


def test_any_rank_is_served(channel: grpc.Channel) -> None:
    """A scalar and a tensor of five dimensions pass, as does an empty one."""
    for model, shape in (("scalar", []), ("rank5", [2, 2, 1, 3, 4]), ("rank5", [1, 2, 1, 3, 0])):
        message = request(model, "FP32", shape)
        sent = np.arange(np.prod(shape), dtype=np.float32).tobytes()
        message.raw_input_contents.append(sent)
        reply = Stub(channel).ModelInfer(message)
        assert (list(reply.outputs[0].shape), reply.raw_output_contents[0]) == (shape, sent)


@pytest.mark.parametrize(
    ("model", "given", "answered"),
    [("reshaped", [2, 6], [2, 3, 2]), ("unfolded", [4], [4])],
)
def test_a_reshape_is_undone_for_the_caller(
    model: str, given: list[int], answered: list[int], channel: grpc.Channel
) -> None:
    """Callers see the dims of config.pbtxt, the model its own shape; the values stay in order."""
    message = request(model, "FP32", given)
    message.raw_input_contents.append(np.arange(math.prod(given), dtype=np.float32).tobytes())
    reply = Stub(channel).ModelInfer(message)
    assert list(reply.outputs[0].shape) == answered
    assert reply.raw_output_contents[0] == message.raw_input_contents[0]
    metadata = Stub(channel).ModelMetadata(pb.ModelMetadataRequest(name=model))
    assert [size for size in metadata.inputs[0].shape if size > 0] == given[-1:]


def test_several_inputs_and_outputs_are_served(channel: grpc.Channel) -> None:
    """Each output arrives under its name with its own values."""
    reply = Stub(channel).ModelInfer(simple(5, 7))
    values = {
        output.name: np.frombuffer(data, np.int32).reshape(output.shape)[:, 0].tolist()
        for output, data in zip(reply.outputs, reply.raw_output_contents, strict=True)
    }
    assert values == {"OUTPUT0": [6, 8], "OUTPUT1": [4, 6]}


def test_only_the_outputs_asked_for_are_sent(channel: grpc.Channel) -> None:
    """A request that names outputs gets those, in its order."""
    reply = Stub(channel).ModelInfer(simple(5, outputs=("OUTPUT1",)))
    assert [output.name for output in reply.outputs] == ["OUTPUT1"]
    reply = Stub(channel).ModelInfer(simple(5, outputs=("OUTPUT1", "OUTPUT0")))
    assert [output.name for output in reply.outputs] == ["OUTPUT1", "OUTPUT0"]


def test_a_reply_carries_its_own_timings(channel: grpc.Channel) -> None:
    """The trailing metadata says how long the request waited and how long it ran."""
    _, call = Stub(channel).ModelInfer.with_call(simple(5))
    timing = dict(call.trailing_metadata())["server-timing"]
    assert timing.startswith("queue;dur=")
    assert ", compute;dur=" in timing


def test_versions_are_served_side_by_side(channel: grpc.Channel) -> None:
    """Without a version the newest answers; each loaded one can be asked for."""
    for version, width, expected in (("", 2, "3"), ("1", 1, "1"), ("3", 2, "3")):
        message = request("counted", "FP32", [1, width], model_version=version)
        message.raw_input_contents.append(bytes(4 * width))
        assert Stub(channel).ModelInfer(message).model_version == expected


def fp32(shape: list[int], data: bytes, **changes: object) -> pb.ModelInferRequest:
    message = request("identity_fp32", "FP32", shape)
    message.raw_input_contents.append(data)
    for field, value in changes.items():
        setattr(message.inputs[0], field, value)
    return message


MALFORMED = {
    "wrong dtype": (fp32([1, 1], b"1234", datatype="INT32"), "'INT32', expected FP32"),
    "unknown dtype": (fp32([1, 1], b"1234", datatype="FLOAT"), "'FLOAT', expected FP32"),
    "wrong rank": (fp32([1], b"1234"), "shape [1], expected [-1, -1]"),
    "negative size": (fp32([1, -1], b""), "shape [1, -1], expected [-1, -1]"),
    "too few bytes": (fp32([1, 2], b"1234"), "8 bytes expected for FP32 [1, 2], got 4"),
    "too many bytes": (fp32([1, 1], b"12345"), "4 bytes expected for FP32 [1, 1], got 5"),
    "unknown input": (fp32([1, 1], b"1234", name="z"), "no input 'z'; its inputs are x"),
    "no batch": (fp32([0, 1], b""), "a batch of 0"),
    "batch too large": (fp32([33, 1], bytes(132)), "a batch of 33, 'identity_fp32' takes 1 to 32"),
    "enormous shape": (fp32([2**62, 2**62], b""), "bytes expected"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_tensor_is_named_and_the_expected_told(
    channel: grpc.Channel, case: str
) -> None:
    """Bad tensors are INVALID_ARGUMENT, and the message says what was expected."""
    message, expected = MALFORMED[case]
    code, details = refusal(Stub(channel).ModelInfer, message)
    assert code == StatusCode.INVALID_ARGUMENT
    assert expected in details


def test_a_missing_input_is_named(channel: grpc.Channel) -> None:
    """A request without one of the inputs says which it lacks."""
    message = simple(5)
    del message.inputs[1], message.raw_input_contents[1]
    assert refusal(Stub(channel).ModelInfer, message) == (
        StatusCode.INVALID_ARGUMENT,
        "'simple' needs the input INPUT1 too",
    )


def test_an_input_given_twice_is_refused(channel: grpc.Channel) -> None:
    """Two tensors of the same name are refused."""
    message = simple(5)
    message.inputs[1].name = "INPUT0"
    assert refusal(Stub(channel).ModelInfer, message)[1] == "input 'INPUT0' is given twice"


def test_inputs_of_unlike_batch_are_refused(channel: grpc.Channel) -> None:
    """All inputs of a request have the same number of rows."""
    message = simple(5, 6)
    message.inputs[1].shape[0] = 1
    message.raw_input_contents[1] = bytes(64)
    assert "must agree in batch size" in refusal(Stub(channel).ModelInfer, message)[1]


def test_raw_contents_match_the_inputs_in_number(channel: grpc.Channel) -> None:
    """One raw entry too few is an error, not a tensor of zeros."""
    message = simple(5)
    del message.raw_input_contents[1]
    details = refusal(Stub(channel).ModelInfer, message)[1]
    assert details == "raw_input_contents has 1 entries for 2 inputs"


def test_values_are_raw_or_typed_and_not_both(channel: grpc.Channel) -> None:
    """The error names the input that has both, in Triton's own words."""
    message = simple(5)
    message.inputs[0].contents.int_contents.extend([5] * 16)
    for _ in ("as many raw entries as inputs", "one too few"):
        assert refusal(Stub(channel).ModelInfer, message) == (
            StatusCode.INVALID_ARGUMENT,
            "contents field must not be specified when using raw_input_contents "
            "for 'INPUT0' for model 'simple'",
        )
        del message.raw_input_contents[1:]


def test_an_unknown_output_is_refused(channel: grpc.Channel) -> None:
    """Asking for an output that the model does not have names those it has."""
    code, details = refusal(Stub(channel).ModelInfer, simple(5, outputs=("OUTPUT2",)))
    assert code == StatusCode.INVALID_ARGUMENT
    assert details == "'simple' has no output 'OUTPUT2'; its outputs are OUTPUT0, OUTPUT1"


def test_typed_values_have_to_fit(channel: grpc.Channel) -> None:
    """A value over the dtype's range, the wrong field and the wrong count are refused."""
    for datatype, field, values, expected in (
        ("INT8", "int_contents", [1, 300], "300 out of bounds for int8"),
        ("UINT8", "uint_contents", [1, 2, 3], "needs 2 values, got 3"),
        ("FP32", "fp64_contents", [1.0, 2.0], "FP32 comes in fp32_contents, got fp64_contents"),
        ("FP16", "fp32_contents", [1.0, 2.0], "FP16 has no typed form"),
    ):
        message = request(f"identity_{datatype.lower()}", datatype, [1, 2])
        getattr(message.inputs[0].contents, field).extend(values)
        code, details = refusal(Stub(channel).ModelInfer, message)
        assert code == StatusCode.INVALID_ARGUMENT
        assert expected in details


def test_broken_strings_are_refused(channel: grpc.Channel) -> None:
    """A length that is cut off, one that runs past the end, and a wrong count are told apart."""
    for data, expected in (
        (b"\1\0\0", "four-byte length is cut off"),
        (b"\5\0\0\0ab", "a string of 5 bytes runs past the end"),
        (b"\0\0\0\0", "2 strings expected, got 1"),
        (b"\1\0\0\0\xff\0\0\0\0", "a string is not UTF-8: element 0 has the byte 0xff at 0"),
    ):
        message = request("identity_bytes", "BYTES", [1, 2])
        message.raw_input_contents.append(data)
        assert expected in refusal(Stub(channel).ModelInfer, message)[1]


def test_a_parameter_that_would_be_passed_over_is_refused(channel: grpc.Channel) -> None:
    """A feature that is not implemented and would change the answer is refused."""
    message = simple(5)
    message.parameters["sequence_id"].int64_param = 1
    code, details = refusal(Stub(channel).ModelInfer, message)
    assert code == StatusCode.INVALID_ARGUMENT
    assert "sequence_id" in details


def test_parameters_of_the_callers_own_are_passed_over(channel: grpc.Channel) -> None:
    """Parameters with names of the caller's own are ignored, as are empty sequences."""
    message = simple(5)
    expected = Stub(channel).ModelInfer(message)
    message.parameters["colour"].string_param = "red"
    message.parameters["depth"].double_param = 0.5
    message.parameters["sequence_id"].int64_param = 0
    message.parameters["sequence_start"].bool_param = False
    message.inputs[0].parameters["binary_data_size"].int64_param = 64
    assert Stub(channel).ModelInfer(message) == expected


@pytest.mark.parametrize(
    ("name", "kind", "value", "expected"),
    [
        ("sequence_id", "string_param", "a", "parameter 'sequence_id': sequences are not supp"),
        ("sequence_start", "bool_param", True, "parameter 'sequence_start': sequences are not"),
        ("sequence_end", "bool_param", True, "parameter 'sequence_end': sequences are not supp"),
        (
            "sequence_end",
            "int64_param",
            1,
            "type for 'sequence_end' parameter, expected bool_param",
        ),
        ("sequence_id", "bool_param", True, "expected int64_param or string_param"),
        ("triton_secret", "bool_param", True, "starting with 'triton_' are reserved"),
        ("triton_enable_empty_final_response", "int64_param", 1, "expected bool_param"),
    ],
)
def test_reserved_parameters_are_not_passed_over(
    channel: grpc.Channel, name: str, kind: str, value: object, expected: str
) -> None:
    """Sequences, which change the answers, and names reserved for Triton are refused."""
    message = simple(5)
    setattr(message.parameters[name], kind, value)
    code, details = refusal(Stub(channel).ModelInfer, message)
    assert code == StatusCode.INVALID_ARGUMENT
    assert expected in details


def test_an_unknown_model_or_version_is_not_found(channel: grpc.Channel) -> None:
    """The text begins as Triton's does, which clients look for."""
    for message in (
        request("nobody", "FP32", [1]),
        request("simple", "FP32", [1], model_version="9"),
        request("simple", "FP32", [1], model_version="latest"),
    ):
        code, details = refusal(Stub(channel).ModelInfer, message)
        assert code == StatusCode.NOT_FOUND
        assert details.startswith("Request for unknown model")


def test_a_failure_inside_the_model_tells_the_caller_nothing_of_it(
    channel: grpc.Channel,
) -> None:
    """What the session raises is INTERNAL, and the details stay in the log."""
    message = pb.ModelInferRequest(model_name="gather")
    message.inputs.add(name="index", datatype="INT64", shape=[1, 1])
    message.raw_input_contents.append((99).to_bytes(8, "little"))
    code, details = refusal(Stub(channel).ModelInfer, message)
    assert code == StatusCode.INTERNAL
    assert details == "internal error; the server's log has the details"


def test_a_shape_that_a_reshape_cannot_take_is_the_callers_fault() -> None:
    """If sizes are free, the error for a wrong number of elements names the input."""
    reshapes = Reshapes(inputs={"x": (2, -1)})
    run = reshapes.around(lambda inputs, _: inputs)
    assert run({"x": np.zeros(4)}, ["x"])["x"].shape == (2, 2)
    with pytest.raises(InvalidRequest, match=r"input 'x' has shape \[3\], .* make up \[2, -1\]"):
        run({"x": np.zeros(3)}, ["x"])
