"""What a user of tritonclient does, one call after the other; run by test_stock_client.py."""

import asyncio
import queue
import sys
from collections.abc import AsyncIterator, Callable
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
    assert not client.is_model_ready("counted", "9")
    assert not client.is_model_ready("nobody")
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
        check_told(call, expected)


def check_told(call: Callable[[], Any], expected: str) -> None:
    try:
        call()
    except InferenceServerException as error:
        told = str(error)
    else:
        told = "no error"
    assert expected in told, told


def infer_with_parameters(client: Any) -> None:
    own = {"colour": "red", "depth": 2, "width": 0.5, "loud": True}
    check_sums(client.infer("simple", inputs(), parameters=own))
    check_told(
        lambda: client.infer("simple", inputs(), sequence_id=7, sequence_start=True),
        "sequences are not supported",
    )


def classify(client: Any) -> None:
    image = triton.InferInput("image", [2, 8, 8, 3], "UINT8")
    image.set_data_from_numpy(np.tile(np.array([255, 0, 51], np.uint8), (2, 8, 8, 1)))
    wanted = [triton.InferRequestedOutput("scores", class_count=2)]
    scores = client.infer("colours", [image], outputs=wanted).as_numpy("scores")
    assert scores.tolist() == [[b"1.000000:0:red", b"0.200000:2:blue"]] * 2


def stream(client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    for model, i in (("simple", "a"), ("nobody", "b"), ("simple", "c")):
        client.async_stream_infer(
            model, inputs(), request_id=i, enable_empty_final_response=model == "simple"
        )
    client.stop_stream()
    (first, _), (_, unknown), (last, _) = (answers.get(timeout=60) for _ in range(3))
    for result, i in ((first, "a"), (last, "c")):
        check_sums(result)
        assert result.get_response().id == i
        assert result.get_response().parameters["triton_final_response"].bool_param
    assert "Request for unknown model: 'nobody'" in unknown.message()
    assert answers.empty()


def cancel_stream(client: Any) -> None:
    answers: queue.Queue[Any] = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    client.async_stream_infer("simple", inputs())
    check_sums(answers.get(timeout=60)[0])
    client.stop_stream(cancel_requests=True)
    check_sums(client.infer("simple", inputs()))


def keep_alive(address: str) -> None:
    options = triton.KeepAliveOptions(
        keepalive_time_ms=1000,
        keepalive_timeout_ms=20000,
        keepalive_permit_without_calls=True,
        http2_max_pings_without_data=0,
    )
    with triton.InferenceServerClient(address, keepalive_options=options) as client:
        check_sums(client.infer("simple", inputs()))
    arguments = [("grpc.lb_policy_name", "pick_first"), ("grpc.max_send_message_length", 2**20)]
    with triton.InferenceServerClient(address, channel_args=arguments) as client:
        check_sums(client.infer("simple", inputs()))


def compress(address: str) -> None:
    with triton.InferenceServerClient(address) as client:
        for algorithm in ("gzip", "deflate"):
            check_sums(client.infer("simple", inputs(), compression_algorithm=algorithm))


def run_out_of_time(client: Any) -> None:
    turns = triton.InferInput("turns", [1], "INT64")
    turns.set_data_from_numpy(np.array([300_000]))  # far longer than the time it is given
    check_told(lambda: client.infer("slow", [turns], client_timeout=0.02), "DEADLINE_EXCEEDED")
    check_sums(client.infer("simple", inputs()))


def come_and_go(address: str) -> None:
    for _ in range(20):  # left open: each lets go when it is collected
        check_sums(triton.InferenceServerClient(address).infer("simple", inputs()))


def observe(client: Any) -> None:
    (found,) = client.get_inference_statistics("simple").model_stats
    assert found.inference_stats.success.count > 0
    assert found.execution_count > 0
    assert {"simple", "counted"} <= {m.name for m in client.get_inference_statistics().model_stats}
    changed = client.update_log_settings({"log_verbose_level": 1, "log_format": "ISO8601"})
    assert changed.settings["log_verbose_level"].uint32_param == 1
    client.update_log_settings({"log_verbose_level": 0, "log_format": "default"})
    assert client.get_log_settings().settings["log_format"].string_param == "default"
    changed = client.update_trace_settings("simple", {"trace_rate": "5", "trace_count": None})
    assert list(changed.settings["trace_rate"].value) == ["5"]
    assert list(client.get_trace_settings().settings["trace_rate"].value) == ["1000"]
    client.update_trace_settings("simple", {"trace_rate": None})


async def infer_async(address: str) -> None:
    async with triton_aio.InferenceServerClient(address) as client:
        results = await asyncio.gather(*(client.infer("simple", inputs()) for _ in range(20)))
        for result in results:
            check_sums(result)
        await stream_async(client)
        (found,) = (await client.get_inference_statistics("simple")).model_stats
        assert found.inference_stats.success.count >= 20


async def stream_async(client: Any) -> None:
    async def requests() -> AsyncIterator[dict[str, Any]]:
        for name in ("simple", "nobody", "simple"):
            yield {"model_name": name, "inputs": inputs(), "request_id": name}

    answers = [answer async for answer in client.stream_infer(requests())]
    assert [error is None for _, error in answers] == [True, False, True]
    check_sums(answers[0][0])
    check_sums(answers[2][0])


STEPS = (
    ask_about,
    infer,
    infer_strings,
    meet_errors,
    run_out_of_time,
    infer_with_parameters,
    classify,
    stream,
    cancel_stream,
    observe,
)


def main(address: str) -> None:
    with triton.InferenceServerClient(address) as client:
        for step in STEPS:
            step(client)
    for reach in (keep_alive, compress, come_and_go):
        reach(address)
    asyncio.run(infer_async(address))
    print("all calls answered")  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(sys.argv[1])
