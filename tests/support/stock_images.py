"""What a user of tritonclient does to classify images; run by test_stock_client.py."""

import queue
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import model_config_pb2, service_pb2_grpc
from tritonclient.grpc import service_pb2 as pb

from tests.support.stock_client import check_told

NAMES = ["red", "green", "blue"]


def picture(model: str, colour: int) -> Any:
    """One picture of a single colour, laid out as the model takes it."""
    pixels = np.zeros((299, 299, 3), np.float32)
    pixels[..., colour] = 1
    chw = np.ascontiguousarray(pixels[:224, :224].transpose(2, 0, 1))
    return chw if model == "densenet_onnx" else pixels[np.newaxis]


def tensor(model: str, pixels: Any) -> Any:
    name = "data_0" if model == "densenet_onnx" else "input"
    made = triton.InferInput(name, pixels.shape, "FP32")
    made.set_data_from_numpy(pixels)
    return made


def wanted(model: str, count: int) -> Any:
    name = "fc6_1" if model == "densenet_onnx" else "scores"
    return triton.InferRequestedOutput(name, class_count=count)


def labels(model: str, result: Any) -> list[str]:
    """The best class of each picture."""
    rows = np.atleast_2d(result.as_numpy(wanted(model, 1).name()))
    return [row[0].decode().split(":")[2] for row in rows]


def describe(client: Any) -> None:
    """The layout and the sizes by which a client prepares its pictures."""
    for model, layout, shape in (
        ("densenet_onnx", "FORMAT_NCHW", [3, 224, 224]),
        ("inception_graphdef", "FORMAT_NHWC", [-1, 299, 299, 3]),
    ):
        config = client.get_model_config(model).config
        assert config.input[0].format == model_config_pb2.ModelInput.Format.Value(layout)
        assert config.output[0].label_filename == "labels.txt"
        (metadata,) = client.get_model_metadata(model).inputs
        assert (metadata.datatype, list(metadata.shape)) == ("FP32", shape)


def classify(client: Any) -> None:
    for model in ("densenet_onnx", "inception_graphdef"):
        for colour, name in enumerate(NAMES):
            asked = [tensor(model, picture(model, colour))], [wanted(model, 3)]
            result = client.infer(model, asked[0], outputs=asked[1], request_id=name)
            assert labels(model, result) == [name]
            best = np.atleast_2d(result.as_numpy(asked[1][0].name()))[0]
            assert best[0] == f"1.000000:{colour}:{name}".encode()
            assert len(best) == 3
            assert result.get_response().id == name


def classify_batch(client: Any) -> None:
    model = "inception_graphdef"
    batch = np.concatenate([picture(model, colour) for colour in (2, 0, 1)])
    result = client.infer(model, [tensor(model, batch)], outputs=[wanted(model, 1)])
    assert labels(model, result) == ["blue", "red", "green"]
    assert result.as_numpy("scores").shape == (3, 1)
    check_told(
        lambda: client.infer("densenet_onnx", [tensor("densenet_onnx", batch)]), "shape [3, 299"
    )


def classify_later(client: Any) -> None:
    """By callbacks, in whatever order; the identifier tells which picture it was."""
    model, answers = "densenet_onnx", queue.Queue[Any]()
    for colour, name in enumerate(NAMES):
        asked = [tensor(model, picture(model, colour))]
        client.async_infer(
            model,
            asked,
            lambda result, error: answers.put(error or result),
            outputs=[wanted(model, 1)],
            request_id=name,
        )
    for _ in NAMES:
        result = answers.get(timeout=60)
        assert labels(model, result) == [result.get_response().id]


def classify_stream(client: Any) -> None:
    model, answers = "inception_graphdef", queue.Queue[Any]()
    client.start_stream(lambda result, error: answers.put(error or result))
    for colour in range(3):
        asked = [tensor(model, picture(model, colour))]
        client.async_stream_infer(model, asked, outputs=[wanted(model, 1)])
    client.stop_stream()
    assert [labels(model, answers.get(timeout=60)) for _ in NAMES] == [[name] for name in NAMES]


def classify_by_stub(address: str) -> None:
    """As a generated client asks, one by one and in a stream: raw pixels, a parameter, strings."""

    def requests() -> Iterator[Any]:
        for colour in range(3):
            message = pb.ModelInferRequest(model_name="densenet_onnx")
            message.inputs.add(name="data_0", datatype="FP32", shape=[3, 224, 224])
            message.raw_input_contents.append(picture("densenet_onnx", colour).tobytes())
            message.outputs.add(name="fc6_1").parameters["classification"].int64_param = 1
            yield message

    with grpc.insecure_channel(address) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        streamed = [answer.infer_response for answer in stub.ModelStreamInfer(requests())]
        alone = [stub.ModelInfer(message) for message in requests()]
        for reply, name in zip(alone + streamed, NAMES * 2, strict=True):
            assert reply.raw_output_contents[0].endswith(f":{name}".encode())
            assert (reply.outputs[0].datatype, list(reply.outputs[0].shape)) == ("BYTES", [1])


def main(address: str) -> None:
    with triton.InferenceServerClient(address) as client:
        for step in (describe, classify, classify_batch, classify_later, classify_stream):
            step(client)
    classify_by_stub(address)
    print("all calls answered")  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(sys.argv[1])
