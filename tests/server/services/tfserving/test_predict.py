"""Predict: TensorFlow's tensors in every form that they have, and what is refused."""

from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from crossrun.tfserving import prediction_service_pb2 as pb
from crossrun.tfserving import tensorflow_pb2 as tf
from crossrun.tfserving.prediction_service_pb2_grpc import PredictionServiceStub
from tests.support.predicting import DT, predict, tensor
from tests.support.requests import NUMPY, VALUES, refusal
from tests.support.running import Server

FIELDS = {
    "BOOL": "bool_val", "UINT8": "int_val", "UINT16": "int_val", "UINT32": "uint32_val",
    "UINT64": "uint64_val", "INT8": "int_val", "INT16": "int_val", "INT32": "int_val",
    "INT64": "int64_val", "FP16": "half_val", "FP32": "float_val", "FP64": "double_val",
    "BF16": "half_val", "BYTES": "string_val",
}  # fmt: skip
INVALID, NOT_FOUND = StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND


@pytest.fixture
def stub(served: Server) -> Any:
    with grpc.insecure_channel(served.address) as channel:
        yield PredictionServiceStub(channel)


def listed(datatype: str) -> list[Any]:
    """The values of a datatype, as its list has them."""
    if datatype in ("FP16", "BF16"):
        bits: list[int] = np.array(VALUES[datatype], NUMPY[datatype]).view(np.uint16).tolist()
        return bits
    return VALUES[datatype]


def dims(found: tf.TensorProto) -> list[int]:
    return [dim.size for dim in found.tensor_shape.dim]


def ints(*shape: int, **values: Any) -> tf.TensorProto:
    return tensor(tf.DT_INT32, shape, **(values or {"int_val": [5]}))


def simple(*outputs: str, **changed: tf.TensorProto) -> pb.PredictRequest:
    return predict("simple", outputs, **({"INPUT0": ints(1, 16), "INPUT1": ints(1, 16)} | changed))


@pytest.mark.parametrize("datatype", DT)
def test_the_list_of_each_type_is_read_and_written(stub: Any, datatype: str) -> None:
    """Every type that ONNX models have comes back from a model that changes nothing."""
    values, field = listed(datatype), FIELDS[datatype]
    sent = tensor(DT[datatype], (1, 2), **{field: values})
    reply = stub.Predict(predict(f"identity_{datatype.lower()}", x=sent))
    found = reply.outputs["y"]
    assert (found.dtype, dims(found)) == (DT[datatype], [1, 2])
    expected = pytest.approx(values) if datatype == "FP32" else values
    assert list(getattr(found, field)) == expected
    assert not found.tensor_content


@pytest.mark.parametrize("datatype", NUMPY)
def test_bytes_of_each_type_are_read(stub: Any, datatype: str) -> None:
    """Numbers may come as little-endian bytes, as numpy has them."""
    content = np.array(VALUES[datatype], NUMPY[datatype]).tobytes()
    sent = tensor(DT[datatype], (1, 2), tensor_content=content)
    found = stub.Predict(predict(f"identity_{datatype.lower()}", x=sent)).outputs["y"]
    field = list(getattr(found, FIELDS[datatype]))
    assert field == pytest.approx(listed(datatype))


@pytest.mark.parametrize(
    ("datatype", "values", "expected"),
    [
        ("FP32", [1.5], [1.5] * 4),
        ("INT64", [1, 2], [1, 2, 2, 2]),
        ("BYTES", [b"a", b"b", b"c"], [b"a", b"b", b"c", b"c"]),
        ("FP16", [0x3C00], [0x3C00] * 4),
    ],
)
def test_the_last_value_of_a_list_is_repeated(
    stub: Any, datatype: str, values: list[Any], expected: list[Any]
) -> None:
    """As TensorFlow writes tensors of equal values."""
    sent = tensor(DT[datatype], (2, 2), **{FIELDS[datatype]: values})
    found = stub.Predict(predict(f"identity_{datatype.lower()}", x=sent)).outputs["y"]
    assert list(getattr(found, FIELDS[datatype])) == expected


def test_the_reply_says_who_has_answered(stub: Any) -> None:
    """The name, the newest version, and the signature; where the time went is in a header."""
    reply, call = stub.Predict.with_call(
        predict("counted", x=tensor(tf.DT_FLOAT, (1, 2), float_val=[1]))
    )
    spec = reply.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("counted", 3, "serving_default")
    assert dict(call.trailing_metadata())["server-timing"].startswith("queue;dur=")


def test_a_version_is_asked_for_by_its_number(stub: Any) -> None:
    """Each version takes what it takes."""
    request = predict("counted", x=tensor(tf.DT_FLOAT, (1, 1), float_val=[7]))
    request.model_spec.version.value = 1
    reply = stub.Predict(request)
    assert (reply.model_spec.version.value, list(reply.outputs["y"].float_val)) == (1, [7])


def test_only_the_outputs_that_are_wanted_come(stub: Any) -> None:
    """All of them without a filter."""
    assert set(stub.Predict(simple()).outputs) == {"OUTPUT0", "OUTPUT1"}
    found = stub.Predict(simple("OUTPUT1")).outputs
    assert {name: list(one.int_val) for name, one in found.items()} == {"OUTPUT1": [0] * 16}


@pytest.mark.parametrize("signature", ["", "serving_default"])
def test_rows_of_a_batch_are_answered_in_order(stub: Any, signature: str) -> None:
    """The default signature may be named or not."""
    first = ints(3, 16, int_val=[row for row in range(3) for _ in range(16)])
    request = simple(INPUT0=first, INPUT1=ints(3, 16, int_val=[1]))
    request.model_spec.signature_name = signature
    assert list(stub.Predict(request).outputs["OUTPUT0"].int_val)[::16] == [1, 2, 3]


def test_a_scalar_has_no_dimensions(stub: Any) -> None:
    """Neither on the way in nor on the way out."""
    found = stub.Predict(predict("scalar", x=tensor(tf.DT_FLOAT, (), float_val=[2.5])))
    assert dims(found.outputs["y"]) == []
    assert list(found.outputs["y"].float_val) == [2.5]


def spec(**said: Any) -> Callable[[pb.PredictRequest], None]:
    def change(request: pb.PredictRequest) -> None:
        request.model_spec.CopyFrom(pb.ModelSpec(**said))

    return change


def version(number: int) -> Callable[[pb.PredictRequest], None]:
    def change(request: pb.PredictRequest) -> None:
        request.model_spec.version.value = number

    return change


def without_shape(request: pb.PredictRequest) -> None:
    request.inputs["INPUT0"].tensor_shape.unknown_rank = True


@pytest.mark.parametrize(
    ("change", "code", "text"),
    [
        (spec(), INVALID, "model_spec.name is empty, expected the name of a model"),
        (spec(name="nobody"), NOT_FOUND, "Request for unknown model: 'nobody' is not found"),
        (version(9), NOT_FOUND, "'simple' version '9' is not found; loaded: 1"),
        (version(0), NOT_FOUND, "version string '0', expected a whole number over 0"),
        (version(-1), NOT_FOUND, "version string '-1'"),
        (
            spec(name="simple", version_label="stable"),
            INVALID,
            "model_spec.version_label is 'stable': versions have no labels here",
        ),
        (
            spec(name="simple", signature_name="classify"),
            INVALID,
            "Serving signature key \"classify\" not found: 'simple' is asked for serving_default",
        ),
        (without_shape, INVALID, "input 'INPUT0' has no shape, expected [-1, 16]"),
    ],
)
def test_who_cannot_be_asked_is_named(stub: Any, change: Any, code: StatusCode, text: str) -> None:
    """A model, a version, a label, a signature, a shape that says nothing."""
    request = simple()
    change(request)
    found, details = refusal(stub.Predict, request)
    assert found == code
    assert text in details


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        (
            {"INPUT0": tensor(tf.DT_FLOAT, (1, 16), float_val=[1])},
            "has DT_FLOAT, expected DT_INT32",
        ),
        ({"INPUT0": tensor(11, (1, 16))}, "input 'INPUT0' has the type 11, expected DT_INT32"),
        ({"INPUT0": tensor(0, (1, 16))}, "has DT_INVALID, expected DT_INT32"),
        ({"INPUT0": ints(16)}, "has shape [16], expected [-1, 16]"),
        ({"INPUT0": ints(1, 17)}, "has shape [1, 17], expected [-1, 16]"),
        ({"INPUT0": ints(-1, 16)}, "has shape [-1, 16], expected [-1, 16]"),
        ({"INPUT0": ints(*[1] * 99)}, "expected [-1, 16]"),
        ({"INPUT0": ints(1, 16, int_val=[])}, "needs 16 values, got 0"),
        ({"INPUT0": ints(1, 16, int_val=[1] * 17)}, "needs 16 values, got 17"),
        ({"INPUT0": ints(1, 16, float_val=[1])}, "DT_INT32 comes in int_val, got float_val"),
        ({"INPUT0": ints(1, 16, tensor_content=b"123")}, "64 bytes expected"),
        (
            {"INPUT0": ints(1, 16, int_val=[1], tensor_content=b"1" * 64)},
            "its elements are given twice, in tensor_content and in int_val",
        ),
        ({"INPUT0": ints(9, 16), "INPUT1": ints(9, 16)}, "'simple' takes 1 to 8"),
        ({"INPUT0": ints(0, 16), "INPUT1": ints(0, 16)}, "[0, 16] needs 0 values, got 1"),
        ({"INPUT0": ints(2, 16)}, "must agree in batch size"),
        ({"other": ints(1, 16)}, "'simple' has no input 'other'; its inputs are INPUT0, INPUT1"),
    ],
)
def test_what_is_no_tensor_of_the_model_is_explained(
    stub: Any, changed: dict[str, tf.TensorProto], text: str
) -> None:
    """The message names the input, what was sent and what was expected."""
    code, details = refusal(stub.Predict, simple(**changed))
    assert code == INVALID
    assert text in details


@pytest.mark.parametrize(
    ("model", "sent", "text"),
    [
        ("identity_uint8", tensor(tf.DT_UINT8, (1, 1), int_val=[256]), "256 out of bounds"),
        ("identity_int8", tensor(tf.DT_INT8, (1, 1), int_val=[-129]), "-129 out of bounds"),
        ("identity_fp16", tensor(tf.DT_HALF, (1, 1), half_val=[65536]), "65536 out of bounds"),
        ("identity_bytes", tensor(tf.DT_STRING, (1, 1), string_val=[b"\xff"]), "is not UTF-8"),
        (
            "identity_bytes",
            tensor(tf.DT_STRING, (1, 1), tensor_content=b"\x01a"),
            "DT_STRING comes in string_val, got tensor_content",
        ),
        (
            "identity_fp32",
            tensor(tf.DT_FLOAT, (1, 2**40), float_val=[1]),
            "a last value that is repeated fills 4000000 at most",
        ),
        (
            "identity_fp32",
            tensor(tf.DT_FLOAT, (1, 2**62), tensor_content=b"1234"),
            "bytes expected",
        ),
    ],
)
def test_values_that_cannot_be_are_refused(
    stub: Any, model: str, sent: tf.TensorProto, text: str
) -> None:
    """Out of range, no text, or more than a short message may unfold to."""
    code, details = refusal(stub.Predict, predict(model, x=sent))
    assert (code, text in details) == (INVALID, True), details


def test_a_request_lacks_no_input(stub: Any) -> None:
    """The one that is missing is named."""
    code, details = refusal(stub.Predict, predict("simple", INPUT0=ints(1, 16)))
    assert (code, details) == (INVALID, "'simple' needs the input INPUT1 too")


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        (("nothing",), "'simple' has no output 'nothing'; its outputs are OUTPUT0, OUTPUT1"),
        (("OUTPUT0", "OUTPUT0"), "output_filter names 'OUTPUT0' twice"),
    ],
)
def test_a_filter_names_outputs_once(stub: Any, wanted: tuple[str, ...], text: str) -> None:
    """Of those that there are."""
    assert refusal(stub.Predict, simple(*wanted)) == (INVALID, text)


def test_a_deadline_that_has_passed_ends_the_call(stub: Any) -> None:
    """As it does any call that runs a model."""
    sent = tensor(tf.DT_INT64, (1,), int64_val=[10_000_000])
    with pytest.raises(grpc.RpcError) as caught:
        stub.Predict(predict("slow", turns=sent), timeout=0.2)
    assert caught.value.code() == StatusCode.DEADLINE_EXCEEDED


def test_what_is_large_is_answered_too(stub: Any) -> None:
    """Megabytes are read and written on threads, and come back as they were."""
    values = np.arange(300_000, dtype=np.float32)
    sent = tensor(tf.DT_FLOAT, (1, len(values)), tensor_content=values.tobytes())
    found = stub.Predict(predict("identity_fp32", x=sent)).outputs["y"]
    assert (np.array(found.float_val, np.float32) == values).all()
