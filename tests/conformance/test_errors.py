"""Malformed requests: each is refused with a proper status, by name, and harms nobody after it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from tests.conformance.messages import identity, simple
from tests.conformance.target import Target

INVALID = frozenset({StatusCode.INVALID_ARGUMENT})
NOT_FOUND = frozenset({StatusCode.NOT_FOUND})
Message = pb.ModelInferRequest


@dataclass(frozen=True)
class Case:
    """A request that cannot be answered.

    Args:
        build: makes the request.
        names: the refusal's text has to hold one of these.
        codes: the status codes that will do.
    """

    build: Callable[[], Message]
    names: tuple[str, ...]
    codes: frozenset[StatusCode] = INVALID


def changed(message: Message, change: Callable[[Message], object]) -> Message:
    """Spoil a good request."""
    change(message)
    return message


def fp32(change: Callable[[Message], object]) -> Callable[[], Message]:
    """Spoil a good request of two FP32 values to `x`."""
    return lambda: changed(identity("FP32", [1.0, 2.0]), change)


def two(change: Callable[[Message], object]) -> Callable[[], Message]:
    """Spoil a good request of one row to INPUT0 and INPUT1."""
    return lambda: changed(simple(5), change)


def strings(data: bytes) -> Callable[[], Message]:
    """Put spoilt raw data into a request of two strings."""
    return lambda: changed(identity("BYTES", [b"", b""]), lambda m: put(m, data))


def put(message: Message, data: bytes) -> None:
    message.raw_input_contents[0] = data


def shape(message: Message, *sizes: int) -> None:
    message.inputs[0].shape[:] = sizes


def typed(field: str, values: list[object]) -> Callable[[], Message]:
    """Put values into a field of the contents of a request of two FP32 values."""

    def change(message: Message) -> None:
        del message.raw_input_contents[:]
        getattr(message.inputs[0].contents, field).extend(values)

    return fp32(change)


def without_inputs(message: Message) -> None:
    del message.inputs[:], message.raw_input_contents[:]


def one_column_less(message: Message) -> None:
    shape(message, 1, 15)
    put(message, bytes(15 * 4))


def another_batch(message: Message) -> None:
    message.inputs[1].shape[0] = 2
    message.raw_input_contents[1] = bytes(2 * 16 * 4)


def extra_input(message: Message) -> None:
    message.inputs.add(name="INPUT2", datatype="INT32", shape=[1, 16])
    message.raw_input_contents.append(bytes(64))


def drop_second(message: Message) -> None:
    del message.inputs[1], message.raw_input_contents[1]


def duplicate(message: Message) -> None:
    message.inputs.add().CopyFrom(message.inputs[0])
    message.raw_input_contents.append(message.raw_input_contents[0])


def both_forms(message: Message) -> None:
    message.inputs[0].contents.fp32_contents.extend([1.0, 2.0])


def no_data(message: Message) -> None:
    del message.raw_input_contents[:]


def raw_for_one_typed_for_other(message: Message) -> None:
    del message.raw_input_contents[1]
    message.inputs[1].contents.int_contents.extend([1] * 16)


X = ("x",)
X_OR_MODEL = ("x", "oip_identity_fp32")
BOTH = ("INPUT0", "INPUT1", "oip_simple")
RAW = (*BOTH, "raw_input_contents")
CASES = {
    "unknown model": Case(
        two(lambda m: setattr(m, "model_name", "oip_nobody")), ("oip_nobody",), NOT_FOUND
    ),
    "no model": Case(
        two(lambda m: m.ClearField("model_name")), ("",), NOT_FOUND | INVALID
    ),
    "unknown version": Case(
        two(lambda m: setattr(m, "model_version", "77")), ("oip_simple",), NOT_FOUND
    ),
    # Triton calls it INVALID_ARGUMENT.
    "version that is no number": Case(
        two(lambda m: setattr(m, "model_version", "latest")), ("latest",), NOT_FOUND | INVALID
    ),
    "wrong datatype": Case(fp32(lambda m: setattr(m.inputs[0], "datatype", "INT32")), X),
    "wrong datatype of another size": Case(
        fp32(lambda m: setattr(m.inputs[0], "datatype", "INT8")), X
    ),
    "unknown datatype": Case(fp32(lambda m: setattr(m.inputs[0], "datatype", "FLOAT")), X),
    "no datatype": Case(fp32(lambda m: m.inputs[0].ClearField("datatype")), X),
    "wrong shape": Case(
        two(one_column_less), ("INPUT0",)
    ),
    "rank too low": Case(fp32(lambda m: shape(m, 2)), X),
    "rank too high": Case(fp32(lambda m: shape(m, 1, 2, 1)), X),
    "no shape": Case(fp32(shape), X),
    "negative shape": Case(fp32(lambda m: shape(m, 1, -1)), X),
    "negative shape whose product fits": Case(fp32(lambda m: shape(m, -1, -2)), X),
    "smallest shape": Case(fp32(lambda m: shape(m, 1, -(2**63))), X),
    "enormous shape": Case(fp32(lambda m: shape(m, 1, 2**40)), X),
    "shape whose product overflows": Case(fp32(lambda m: shape(m, 2**32, 2**32)), X_OR_MODEL),
    "missing input": Case(two(drop_second), ("INPUT1", "oip_simple")),
    "no inputs": Case(
        two(without_inputs), BOTH
    ),
    "extra input": Case(two(extra_input), ("INPUT2", "oip_simple")),
    "unknown input": Case(fp32(lambda m: setattr(m.inputs[0], "name", "zebra")), ("zebra",)),
    "nameless input": Case(fp32(lambda m: m.inputs[0].ClearField("name")), (*X_OR_MODEL, "''")),
    "duplicate input": Case(two(duplicate), BOTH),
    "duplicate in place of another": Case(
        two(lambda m: setattr(m.inputs[1], "name", "INPUT0")), BOTH
    ),
    "too few bytes": Case(fp32(lambda m: put(m, bytes(4))), X),
    "too many bytes": Case(fp32(lambda m: put(m, bytes(12))), X),
    "half an element": Case(fp32(lambda m: put(m, bytes(7))), X),
    "no bytes": Case(fp32(lambda m: put(m, b"")), X),
    "raw entry missing": Case(two(lambda m: m.raw_input_contents.pop()), RAW),
    "raw entry too many": Case(
        two(lambda m: m.raw_input_contents.append(bytes(64))), RAW
    ),
    "no data": Case(fp32(no_data), X),
    "raw and typed": Case(fp32(both_forms), X),
    "raw for one, typed for the other": Case(two(raw_for_one_typed_for_other), RAW),
    "typed in another float field": Case(typed("fp64_contents", [1.0, 2.0]), X),
    "typed in an integer field": Case(typed("int_contents", [1, 2]), X),
    "typed in the bytes field": Case(typed("bytes_contents", [b"abcd", b"efgh"]), X),
    "too few typed": Case(typed("fp32_contents", [1.0]), X),
    "too many typed": Case(typed("fp32_contents", [1.0, 2.0, 3.0]), X),
    # The model's own name will do: the batch belongs to the request, not to one input.
    "batches that differ": Case(two(another_batch), BOTH),
    "unknown output": Case(
        lambda: simple(5, outputs=["OUTPUT0", "OUTPUT2"]), ("OUTPUT2",)
    ),
    "nameless output": Case(lambda: simple(5, outputs=[""]), ("OUTPUT0", "oip_simple", "''")),
    "string whose length is cut off": Case(strings(b"\0\0\0\0\1\0"), X),
    "string that is cut off": Case(strings(b"\0\0\0\0\5\0\0\0ab"), X),
    "string of enormous length": Case(strings(b"\0\0\0\0\xff\xff\xff\xff"), X),
    "too few strings": Case(strings(b"\1\0\0\0a"), X),
    "too many strings": Case(strings(b"\0\0\0\0" * 3), X),
    "bytes behind the strings": Case(strings(b"\0\0\0\0" * 2 + b"\0"), X),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_malformed_request_is_refused(target: Target, case: str) -> None:
    """The status fits, the text names what was wrong, and the next request is answered."""
    message = CASES[case].build()
    target.check_refused(message, CASES[case].names, CASES[case].codes)


def test_a_batch_over_the_most_is_refused(target: Target) -> None:
    """One row over max_batch_size, where the model's configuration tells of one."""
    target.need_extension("model_configuration")
    target.need("oip_identity_fp32")
    configuration = target.call("ModelConfig", pb.ModelConfigRequest(name="oip_identity_fp32"))
    rows = configuration.config.max_batch_size + 1
    assert rows == 9
    target.check_refused(identity("FP32", [0.0] * rows, (rows, 1)), X_OR_MODEL)


def test_many_refusals_in_a_row(target: Target) -> None:
    """A hundred bad requests on one connection are each refused."""
    bad = CASES["too few bytes"].build()
    target.need(bad.model_name)
    codes = {target.refusal("ModelInfer", bad)[0] for _ in range(100)}
    assert codes == {StatusCode.INVALID_ARGUMENT}
    target.check_health()


def test_a_good_request_beside_bad_ones(target: Target) -> None:
    """Bad requests in flight leave the good ones between them right."""
    bad = CASES["batches that differ"].build()
    calls = [target.future(bad if i % 2 else simple(i)) for i in range(40)]
    for i, call in enumerate(calls):
        if i % 2:
            assert call.code() == StatusCode.INVALID_ARGUMENT
        else:
            values = np.frombuffer(call.result().raw_output_contents[0], np.int32)
            assert values.tolist() == [i + 1] * 16


def test_bytes_that_are_no_message(target: Target) -> None:
    """Bytes that no protobuf parser takes end in an error status, and in nothing worse."""
    code = target.bytes_call("ModelInfer", b"\xff\xff\xff\xff")
    assert code not in (StatusCode.OK, StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED)
    target.check_health()


def test_an_rpc_that_does_not_exist(target: Target) -> None:
    """gRPC answers UNIMPLEMENTED for a method that the service does not have."""
    assert target.bytes_call("ModelDaydream", b"") == StatusCode.UNIMPLEMENTED
    target.check_health()
