"""BYTES over a real connection: text passes unchanged, and what is no text is refused in words."""

import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import onnx
import pytest
from grpc import StatusCode
from onnx import helper

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun_server.errors import LoadError
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from tests.support import models
from tests.support.pictures import encoded, halves
from tests.support.requests import refusal
from tests.support.running import ON_CPU, serving

INT64, STRING = onnx.TensorProto.INT64, onnx.TensorProto.STRING
TEXTS = [b"", b"\0", b"end\0", b"\0\0middle\0of it", "naïve 🦜".encode(), b"x" * 70_000 + b"\0"]
BATCHED = "max_batch_size: 8\ndynamic_batching { max_queue_delay_microseconds: 20000 }"
Fill = Callable[[pb.ModelInferRequest, list[bytes]], None]


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stub]:
    root = tmp_path_factory.mktemp("strings")
    models.write(root, "text", models.identity(STRING, ["batch", "width"]), BATCHED)
    models.write(root, "words", words([b"\xff\xd8", b"fine\0"]), "max_batch_size: 8")
    with (
        serving(root, root.parent / "strings.log") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield Stub(channel)


def words(values: list[bytes]) -> onnx.ModelProto:
    """`x` INT64 [batch, 1] → `y`, which of some strings it names."""
    table = onnx.TensorProto(name="table", data_type=STRING, dims=[len(values)], string_data=values)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "x"], ["y"])],
        "words",
        [helper.make_tensor_value_info("x", INT64, ["batch", 1])],
        [helper.make_tensor_value_info("y", STRING, ["batch", 1])],
        [table],
    )
    return helper.make_model(graph, opset_imports=models.OPSETS, ir_version=8)


def wire(texts: list[bytes]) -> bytes:
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def as_raw(message: pb.ModelInferRequest, texts: list[bytes]) -> None:
    message.raw_input_contents.append(wire(texts))


def as_typed(message: pb.ModelInferRequest, texts: list[bytes]) -> None:
    message.inputs[0].contents.bytes_contents.extend(texts)


def ask(stub: Stub, texts: list[bytes], fill: Fill = as_raw) -> pb.ModelInferResponse:
    message = pb.ModelInferRequest(model_name="text")
    message.inputs.add(name="x", datatype="BYTES", shape=[1, len(texts)])
    fill(message, texts)
    response: pb.ModelInferResponse = stub.ModelInfer(message)
    return response


@pytest.mark.parametrize("fill", [as_raw, as_typed])
def test_text_passes_unchanged(stub: Stub, fill: Fill) -> None:
    """With NULs inside and at its end, empty, long, of any alphabet."""
    assert ask(stub, TEXTS, fill).raw_output_contents[0] == wire(TEXTS)


def test_callers_that_share_a_run_get_their_own(stub: Stub) -> None:
    """Strings of unlike length are joined to a batch and taken apart again."""
    sent = [[text, b"%d" % i] for i, text in enumerate(TEXTS * 4)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda texts: ask(stub, texts), sent))
    assert [answer.raw_output_contents[0] for answer in answers] == [wire(one) for one in sent]


@pytest.mark.parametrize("fill", [as_raw, as_typed])
@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (encoded(halves(), "JPEG"), "element 1 has the byte 0xff at 0"),
        (b"abc\x80", "element 1 has the byte 0x80 at 3"),
        (b"\xed\xa0\x80", "element 1 has the byte 0xed at 0"),  # half of a surrogate pair
        (b"cut \xe2\x82", "element 1 has the byte 0xe2 at 4"),
    ],
)
def test_what_is_no_text_is_refused(stub: Stub, fill: Fill, bad: bytes, told: str) -> None:
    """The error names the input, the element and the byte, and what such a model needs."""
    code, details = refusal(lambda: ask(stub, [b"good", bad], fill))
    assert code == StatusCode.INVALID_ARGUMENT
    assert details.startswith(
        f"input 'x': a string is not UTF-8: {told}; onnxruntime's Python takes"
    )
    assert details.endswith("needs a UINT8 input")


def test_an_output_that_is_no_text_is_told(stub: Stub) -> None:
    """Its caller learns which output, and of another element the answer, to the last NUL."""
    message = pb.ModelInferRequest(model_name="words")
    message.inputs.add(name="x", datatype="INT64", shape=[1, 1]).contents.int64_contents.append(0)
    code, details = refusal(lambda: stub.ModelInfer(message))
    assert code == StatusCode.UNIMPLEMENTED
    assert details.startswith(
        "a string in output y is not UTF-8, and onnxruntime's Python returns only text"
    )
    message.inputs[0].contents.int64_contents[0] = 1
    assert stub.ModelInfer(message).raw_output_contents[0] == wire([b"fine\0"])


def test_strings_beside_bf16_stop_the_load(tmp_path: Path) -> None:
    """onnxruntime's Python cannot do both, so the load fails and says so."""
    graph = models.identity(onnx.TensorProto.BFLOAT16, ["batch", 1])
    graph.graph.input.append(helper.make_tensor_value_info("s", STRING, ["batch", 1]))
    graph.graph.output.append(helper.make_tensor_value_info("t", STRING, ["batch", 1]))
    graph.graph.node.append(helper.make_node("Identity", ["s"], ["t"]))
    models.write(tmp_path, "both", graph)
    with pytest.raises(LoadError, match="takes no strings where a tensor is BF16"):
        loader.load(ModelSource(tmp_path / "both"), ON_CPU)
