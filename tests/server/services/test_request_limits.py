"""What a request may hold: both fronts refuse a small message that asks for much, at once."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.v1 import vision_pb2
from crossrun.v1.vision_pb2_grpc import VisionStub
from tests.support.pictures import encoded, plain
from tests.support.requests import refusal, simple
from tests.support.running import Server, serving
from tests.support.vision import classify

OIP, VISION = "/inference.GRPCInferenceService", "/crossrun.v1.Vision"
FIELDS = "the request holds more than 50000 fields or 4000000 numbers"
NO_MESSAGE = "the request is no message of"


def empty(field: int) -> bytes:
    """Empty fields of a number, which hold messages, texts or bytes: 600 KB."""
    return bytes([field << 3 | 2, 0]) * 300_000


def inside(field: int, content: bytes) -> bytes:
    """A field that holds a message."""
    size, length = len(content), b""
    while size >= 0x80:
        length, size = length + bytes([size & 0x7F | 0x80]), size >> 7
    return bytes([field << 3 | 2]) + length + bytes([size]) + content


@pytest.fixture
def channel(served: Server) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.address) as opened:
        yield opened


def numbers(count: int) -> bytes:
    message = simple(1)
    message.inputs[0].contents.int_contents.extend([0] * count)
    return message.SerializeToString()


TOO_MUCH: dict[str, tuple[str, bytes, str]] = {
    "numbers without end": (f"{OIP}/ModelInfer", b"\xff" * 1_000_000, NO_MESSAGE),
    "inputs": (f"{OIP}/ModelInfer", empty(5), FIELDS),
    "requested outputs": (f"{OIP}/ModelInfer", empty(6), FIELDS),
    "raw tensors": (f"{OIP}/ModelInfer", empty(7), FIELDS),
    "parameters": (f"{OIP}/ModelInfer", empty(4), FIELDS),
    "parameters of an input": (f"{OIP}/ModelInfer", inside(5, empty(4)), FIELDS),
    "strings": (f"{OIP}/ModelInfer", inside(5, inside(5, empty(8))), FIELDS),
    "packed numbers": (f"{OIP}/ModelInfer", numbers(4_000_001), FIELDS),
    "sizes": (f"{OIP}/ModelInfer", inside(5, inside(3, bytes(4_000_001))), FIELDS),
    "groups": (f"{OIP}/ModelInfer", b"\x0b" * 1_000_000, FIELDS),
    "unknown fields": (f"{OIP}/ServerLive", empty(9), FIELDS),
    "pictures to classify": (f"{VISION}/Classify", empty(3), FIELDS),
    "pictures to search": (f"{VISION}/Detect", empty(3), FIELDS),
    "labels": (f"{VISION}/Detect", empty(7), FIELDS),
    "parameters of a load": (f"{OIP}/RepositoryModelLoad", empty(3), FIELDS),
    "trace settings": (f"{OIP}/TraceSetting", empty(1), FIELDS),
    "log settings": (f"{OIP}/LogSettings", empty(1), FIELDS),
}


@pytest.mark.parametrize("case", TOO_MUCH)
def test_what_holds_too_much_is_not_parsed(channel: grpc.Channel, case: str) -> None:
    """Whatever the RPC and the depth; the text says how much is too much."""
    path, message, expected = TOO_MUCH[case]
    code, details = refusal(channel.unary_unary(path), message)
    assert code == StatusCode.INVALID_ARGUMENT
    assert details.startswith(expected)


def test_a_stream_counts_too(channel: grpc.Channel) -> None:
    """Its end is the caller's mistake if a message holds too much, or is none."""
    stream: Any = channel.stream_stream(f"{OIP}/ModelStreamInfer")
    for message, expected in ((empty(5), FIELDS), (b"\xff" * 100, NO_MESSAGE)):
        code, details = refusal(lambda message=message: list(stream(iter([message]))))
        assert code == StatusCode.INVALID_ARGUMENT
        assert details.startswith(expected)


@pytest.mark.parametrize(
    "path",
    [
        "/grpc.health.v1.Health/Watch",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ],
)
def test_other_streams_explain_what_is_no_message(channel: grpc.Channel, path: str) -> None:
    """It is the caller's mistake in these, too."""
    watch = path.endswith("Watch")
    call: Any = (channel.unary_stream if watch else channel.stream_stream)(path)
    request = b"\xff" * 100 if watch else iter([b"\xff" * 100])
    assert refusal(lambda: list(call(request))) == (
        StatusCode.INVALID_ARGUMENT,
        f"the request is no message of {path}",
    )


def repeated(message: pb.ModelInferRequest) -> None:
    for _ in range(20_000):
        message.inputs.add(name="INPUT0")


def unknown_outputs(message: pb.ModelInferRequest) -> None:
    for number in range(20_000):
        message.outputs.add(name=f"y{number}")


def repeated_outputs(message: pb.ModelInferRequest) -> None:
    for _ in range(20_000):
        message.outputs.add(name="OUTPUT0")


def parameters(message: pb.ModelInferRequest) -> None:
    for number in range(129):
        message.parameters[f"own{number}"].bool_param = True


def sizes(message: pb.ModelInferRequest) -> None:
    message.inputs[0].shape.extend([1] * 1_000_000)


def overflowing(message: pb.ModelInferRequest) -> None:
    message.inputs[0].shape[:] = [2**62, 2**62]


UNFIT: dict[str, tuple[Callable[[pb.ModelInferRequest], None], str]] = {
    "repeated inputs": (repeated, "input 'INPUT0' is given twice"),
    "unknown outputs": (unknown_outputs, "'simple' has no output 'y0'"),
    "repeated outputs": (repeated_outputs, "output 'OUTPUT0' is asked for twice"),
    "parameters": (parameters, "the request has 129 parameters, expected 128 at most"),
    "sizes": (sizes, "input 'INPUT0' has 1000002 sizes in its shape, expected 64 at most"),
    "a huge shape": (overflowing, "input 'INPUT0' has shape"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_a_request_has_no_more_than_the_model_takes(channel: grpc.Channel, case: str) -> None:
    """The first tensor too many is named, before any other is looked at."""
    misuse, expected = UNFIT[case]
    message = simple(1)
    misuse(message)
    code, details = refusal(Stub(channel).ModelInfer, message)
    assert code == StatusCode.INVALID_ARGUMENT
    assert details.startswith(expected)


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([1, 3], "3 strings expected, got more"),
        ([1, 1_000_001], "1000001 strings expected, a tensor may have 1000000"),
    ],
)
def test_strings_are_counted(channel: grpc.Channel, sizes: list[int], expected: str) -> None:
    """No more are made than the shape says, and a tensor may have: the damaged last is not seen."""
    message = pb.ModelInferRequest(
        model_name="identity_bytes", raw_input_contents=[bytes(4_000_001)]
    )
    message.inputs.add(name="x", datatype="BYTES", shape=sizes)
    code, details = refusal(Stub(channel).ModelInfer, message)
    assert (code, details) == (StatusCode.INVALID_ARGUMENT, f"input 'x': {expected}")


def test_large_typed_tensors_are_still_read(channel: grpc.Channel) -> None:
    """Many numbers, which are read in pieces, come back as they were."""
    message = pb.ModelInferRequest(model_name="identity_int64")
    message.inputs.add(name="x", datatype="INT64", shape=[1, 300_000])
    values = range(-150_000, 150_000)
    message.inputs[0].contents.int64_contents.extend(values)
    answer = Stub(channel).ModelInfer(message)
    assert np.array_equal(np.frombuffer(answer.raw_output_contents[0], np.int64), values)


@pytest.fixture(scope="module")
def strict(
    front: str, tiny_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[grpc.Channel]:
    """A channel to a server that takes few pictures."""
    options = ("--max-request-pictures", "3", "--max-request-megapixels", "1", "--front", front)
    log = tmp_path_factory.mktemp("strict") / "log"
    with (
        serving(tiny_models, log, *options) as running,
        grpc.insecure_channel(running.address) as opened,
    ):
        yield opened


def test_pictures_are_counted(strict: grpc.Channel) -> None:
    """Before any is decoded; the text names the option."""
    red = plain(255, 0, 0)
    assert len(classify(strict, red, red, red).results) == 3
    assert refusal(classify, strict, red, red, red, b"") == (
        StatusCode.INVALID_ARGUMENT,
        "images has 4 pictures, expected 3 at most; the server's --max-request-pictures sets the "
        "limit",
    )


def test_pixels_are_counted(strict: grpc.Channel) -> None:
    """Before any picture is decoded; the text names the option."""
    from PIL import Image

    large = encoded(Image.new("RGB", (800, 600)))
    assert len(classify(strict, large, large).results) == 2
    assert refusal(classify, strict, large, large, large) == (
        StatusCode.INVALID_ARGUMENT,
        "images has 1440000 pixels in all, expected 1000000 at most; the server's "
        "--max-request-megapixels sets the limit",
    )


def test_many_pictures_of_one_caller_let_others_in(channel: grpc.Channel) -> None:
    """Many calls of one picture each are answered before the last of them is decoded."""
    from PIL import Image

    large = encoded(Image.new("RGB", (1500, 1500)))
    request = vision_pb2.ClassifyRequest(model="colours", images=[large] * 150)
    many = VisionStub(channel).Classify.future(request)
    for _ in range(15):
        assert classify(channel, plain(255, 0, 0)).results[0].classes[0].label == "red"
    assert not many.done()
    assert len(many.result().results) == 150
