"""The calls of Triton's public examples, to the models they expect; run by test_stock_client.py."""

import asyncio
import queue
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
import tritonclient.utils.shared_memory as memory
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc
from tritonclient.utils import serialize_byte_tensor

from tests.support.stock_client import check_told
from tests.support.stock_memory import let_go, make_region

COUNTED = np.arange(16).reshape(1, 16)
HEADERS = {"test": "1", "dummy": "2"}
REFUSED = {"simple_sequence", "simple_dyna_sequence"}


def ask_about(client: Any) -> None:
    assert client.is_server_live(headers=HEADERS)
    assert client.is_server_ready(headers=HEADERS)
    assert client.is_model_ready("simple", headers=HEADERS)
    assert client.get_server_metadata(headers=HEADERS).name == "triton"
    assert client.get_model_metadata("simple", headers=HEADERS).name == "simple"
    assert client.get_model_config("simple", headers=HEADERS).config.name == "simple"
    check_told(lambda: client.get_model_metadata("wrong"), "Request for unknown model: 'wrong'")


def look_at_the_index(client: Any) -> None:
    """A model that cannot be served is listed too, with what it wants in vain."""
    index = {model.name: model for model in client.get_model_repository_index().models}
    assert len(index) == 8
    assert {name for name, model in index.items() if model.state != "READY"} == REFUSED
    for name in REFUSED:
        assert "sequence_batching is not supported" in index[name].reason


def add_int8(client: Any) -> None:
    tensors = [triton.InferInput(f"INPUT{i}", [1, 16], "INT8") for i in (0, 1)]
    for tensor, values in zip(tensors, (COUNTED, -COUNTED), strict=True):
        tensor.set_data_from_numpy(values.astype(np.int8))
    result = client.infer("simple_int8", tensors, headers=HEADERS)
    assert not result.as_numpy("OUTPUT0").any()
    assert (result.as_numpy("OUTPUT1") == 2 * COUNTED).all()


def add_strings(client: Any) -> None:
    tensors = [triton.InferInput(f"INPUT{i}", [1, 16], "BYTES") for i in (0, 1)]
    for tensor, values in zip(tensors, (COUNTED, np.ones_like(COUNTED)), strict=True):
        tensor.set_data_from_numpy(strings(values))
    result = client.infer("simple_string", tensors)
    assert result.as_numpy("OUTPUT0").tolist() == strings(COUNTED + 1).tolist()
    assert result.as_numpy("OUTPUT1").tolist() == strings(COUNTED - 1).tolist()


def add_shared_strings(client: Any) -> None:
    """Each string tensor has a region of exactly its size."""
    terms = [strings(COUNTED), strings(np.ones_like(COUNTED))]
    expected = [strings(COUNTED + 1), strings(COUNTED - 1)]
    sizes = [len(serialize_byte_tensor(words).item()) for words in terms + expected]
    regions = [make_region(client, f"r{i}", [], size) for i, size in enumerate(sizes)]
    tensors = [triton.InferInput(f"INPUT{i}", [1, 16], "BYTES") for i in (0, 1)]
    wanted = [triton.InferRequestedOutput(f"OUTPUT{i}") for i in (0, 1)]
    for i, tensor in enumerate(tensors + wanted):
        tensor.set_shared_memory(f"r{i}", sizes[i])
    for region, words in zip(regions, terms, strict=False):
        memory.set_shared_memory_region(region, [serialize_byte_tensor(words)])
    client.infer("simple_string", tensors, outputs=wanted)
    for region, words in zip(regions[2:], expected, strict=True):
        found = memory.get_contents_as_numpy(region, np.object_, [1, 16])
        assert found.tolist() == words.tolist()
    let_go(client, *regions)


def repeat_bytes(client: Any) -> None:
    """Strings keep their null characters, and fixed-width bytes come back as they went."""
    for values in (
        np.array([[b"nu\x00ll", b"", "ü".encode()]], np.object_),
        np.array([[b"\x00\x01\x02\x03"] * 16], np.bytes_),
    ):
        tensor = triton.InferInput("INPUT0", values.shape, "BYTES")
        tensor.set_data_from_numpy(values)
        found = client.infer("simple_identity", [tensor]).as_numpy("OUTPUT0")
        assert found.tolist() == values.tolist()


def strings(numbers: Any) -> Any:
    return np.array([[str(n).encode() for n in row] for row in numbers], np.object_)


def request(model: str, datatype: str, field: str, values: list[Any]) -> Any:
    """A message with typed contents, as a generated client makes it."""
    message = pb.ModelInferRequest(model_name=model)
    for i in (0, 1):
        tensor = message.inputs.add(name=f"INPUT{i}", datatype=datatype, shape=[1, 16])
        getattr(tensor.contents, field).extend(values)
        message.outputs.add(name=f"OUTPUT{i}")
    return message


def send_typed(stub: Any) -> None:
    for model, dtype in (("simple", np.int32), ("simple_int8", np.int8)):
        datatype = np.dtype(dtype).name.upper()
        reply = stub.ModelInfer(request(model, datatype, "int_contents", [7, -7] * 8))
        found = [np.frombuffer(raw, dtype).tolist() for raw in reply.raw_output_contents]
        assert found == [[14, -14] * 8, [0] * 16]
    words = request("simple_string", "BYTES", "bytes_contents", [b"7", b"-7"] * 8)
    (total, _) = stub.ModelInfer(words).raw_output_contents
    assert total == serialize_byte_tensor(np.array([b"14", b"-14"] * 8, np.object_)).item()


def meet_errors(stub: Any) -> None:
    """Triton's own words, which its examples look for."""
    message = request("simple", "INT32", "int_contents", [1] * 16)
    message.model_version = "wrong"
    refuse(stub, message, "failed to get model version from specified version string 'wrong'")
    message.model_version = ""
    message.raw_input_contents.append(bytes(64))
    refuse(
        stub,
        message,
        "contents field must not be specified when using raw_input_contents "
        "for 'INPUT0' for model 'simple'",
    )


def refuse(stub: Any, message: Any, expected: str) -> None:
    try:
        stub.ModelInfer(message)
    except grpc.RpcError as error:
        told = str(error)
    else:
        told = "no error"
    assert expected in told, told


def ask_stub(stub: Any) -> None:
    assert stub.ServerLive(pb.ServerLiveRequest()).live
    assert stub.ServerReady(pb.ServerReadyRequest()).ready
    assert stub.ModelReady(pb.ModelReadyRequest(name="densenet_onnx")).ready
    message = pb.ModelInferRequest(model_name="densenet_onnx", id="mine")
    message.inputs.add(name="data_0", datatype="FP32", shape=[3, 224, 224])
    message.raw_input_contents.append(b"a" * (3 * 224 * 224 * 4))
    reply = stub.ModelInfer(message)
    assert (reply.id, list(reply.outputs[0].shape)) == ("mine", [1000])


def ask_for_sequences(client: Any) -> None:
    told = "'simple_sequence' has no available versions: failed to load 'simple_sequence'"
    options = {"sequence_id": 1000, "sequence_start": True, "sequence_end": False}
    check_told(lambda: client.infer("simple_sequence", [first()], **options), told)
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put(error or result))
    client.async_stream_infer("simple_sequence", [first()], **options)
    assert "sequence_batching is not supported" in answers.get(timeout=60).message()
    client.stop_stream()


async def ask_for_sequences_async(address: str) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        yield {"model_name": "simple_sequence", "inputs": [first()], "sequence_id": "abc"}

    async with triton_aio.InferenceServerClient(address) as client:
        ((result, error),) = [answer async for answer in client.stream_infer(requests())]
    assert result is None
    assert "sequence_batching is not supported" in error.message()


def first() -> Any:
    tensor = triton.InferInput("INPUT", [1, 1], "INT32")
    tensor.set_data_from_numpy(np.ones((1, 1), np.int32))
    return tensor


STEPS = (
    ask_about,
    look_at_the_index,
    add_int8,
    add_strings,
    add_shared_strings,
    repeat_bytes,
    ask_for_sequences,
)


def main(address: str) -> None:
    with triton.InferenceServerClient(address) as client:
        for step in STEPS:
            step(client)
    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for ask in (ask_stub, send_typed, meet_errors):
            ask(stub)
    asyncio.run(ask_for_sequences_async(address))
    print("all calls answered")  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(sys.argv[1])
