"""What a user of tritonclient does, one call after the other; run by test_stock_client.py."""

import asyncio
import queue
import sys
from typing import Any

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

ONES = np.ones((1, 16), np.int32)
FIVES = np.full((1, 16), 5, np.int32)


def inputs() -> list[Any]:
    made = []
    for name, values in (("INPUT0", FIVES), ("INPUT1", ONES)):
        made.append(triton.InferInput(name, [1, 16], "INT32"))
        made[-1].set_data_from_numpy(values)
    return made


def check_sums(result: Any) -> None:
    assert (result.as_numpy("OUTPUT0") == FIVES + ONES).all()
    assert (result.as_numpy("OUTPUT1") == FIVES - ONES).all()


def ask_about(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("simple")
    assert client.is_model_ready("counted", "3")
    assert client.get_server_metadata().name == "crossrun"
    metadata = client.get_model_metadata("simple", as_json=True)
    assert metadata["platform"] == "onnxruntime_onnx"
    assert [i["shape"] for i in metadata["inputs"]] == [["-1", "16"], ["-1", "16"]]
    assert list(client.get_model_metadata("counted").versions) == ["1", "3"]
    config = client.get_model_config("simple").config
    assert (config.max_batch_size, config.backend) == (8, "onnxruntime")
    assert list(config.input[0].dims) == [16]


def infer(client: Any) -> None:
    result = client.infer("simple", inputs(), request_id="a", client_timeout=60)
    check_sums(result)
    assert result.get_response().id == "a"
    only = client.infer("simple", inputs(), outputs=[triton.InferRequestedOutput("OUTPUT1")])
    assert only.as_numpy("OUTPUT0") is None
    check_sums(client.infer("simple", inputs(), priority=1, timeout=1_000_000))
    answers: queue.Queue[Any] = queue.Queue()
    client.async_infer("simple", inputs(), lambda result, error: answers.put(error or result))
    check_sums(answers.get(timeout=60))


def infer_strings(client: Any) -> None:
    words = np.array([["crossrun", "überlaufen"]], dtype=np.object_)
    tensor = triton.InferInput("x", [1, 2], "BYTES")
    tensor.set_data_from_numpy(words)
    result = client.infer("identity_bytes", [tensor]).as_numpy("y")
    assert [word.decode() for word in result.ravel()] == words.ravel().tolist()


def meet_errors(client: Any) -> None:
    for call, expected in (
        (lambda: client.infer("nobody", inputs()), "Request for unknown model: 'nobody'"),
        (lambda: client.infer("simple", inputs()[:1]), "needs the input INPUT1 too"),
        (lambda: client.get_model_config("simple", "9"), "Request for unknown model"),
    ):
        try:
            call()  # type: ignore[no-untyped-call]
        except InferenceServerException as error:
            told = error.message()
        else:
            told = "no error"
        assert expected in told, told


async def infer_async(address: str) -> None:
    async with triton_aio.InferenceServerClient(address) as client:
        results = await asyncio.gather(*(client.infer("simple", inputs()) for _ in range(20)))
        for result in results:
            check_sums(result)


def main(address: str) -> None:
    with triton.InferenceServerClient(address) as client:
        for step in (ask_about, infer, infer_strings, meet_errors):
            step(client)
    asyncio.run(infer_async(address))
    print("all calls answered")  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(sys.argv[1])
