"""What a user of tritonclient.http does, one call after the other; run by test_stock_http.py."""

import asyncio
import sys
from typing import Any

import numpy as np
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
import tritonclient.utils.shared_memory as memory

from tests.support.stock_client import FIVES, ONES, check_sums, check_told
from tests.support.stock_memory import let_go, make_region


def inputs(binary: bool = True) -> list[Any]:
    made = []
    for name, values in (("INPUT0", FIVES), ("INPUT1", ONES)):
        made.append(triton.InferInput(name, [1, 16], "INT32"))
        made[-1].set_data_from_numpy(values, binary_data=binary)
    return made


def ask_about(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("counted", "3")
    assert not client.is_model_ready("counted", "9")
    assert not client.is_model_ready("nobody")
    assert client.get_server_metadata()["name"] == "crossrun"
    metadata = client.get_model_metadata("simple")
    assert [i["shape"] for i in metadata["inputs"]] == [[-1, 16], [-1, 16]]
    config = client.get_model_config("simple")
    assert (config["max_batch_size"], config["input"][0]["dims"]) == (8, [16])
    assert {one["state"] for one in client.get_model_repository_index()} == {"READY"}


def infer(client: Any) -> None:
    """By every road: binary, JSON, one of each; packed; at once and later."""
    for binary in (True, False):
        result = client.infer("simple", inputs(binary), request_id="a", priority=1, timeout=10**6)
        check_sums(result)
        assert result.get_response()["id"] == "a"
        wanted = [
            triton.InferRequestedOutput(f"OUTPUT{i}", binary_data=binary is bool(i)) for i in (0, 1)
        ]
        check_sums(client.infer("simple", [inputs()[0], inputs(False)[1]], outputs=wanted))
    for packing in ("gzip", "deflate"):
        check_sums(
            client.infer(
                "simple",
                inputs(),
                request_compression_algorithm=packing,
                response_compression_algorithm=packing,
            )
        )
    waiting = [client.async_infer("simple", inputs()) for _ in range(8)]
    for one in waiting:
        check_sums(one.get_result())


def infer_strings(client: Any) -> None:
    words = np.array([["crossrun", "überlaufen"]], dtype=np.object_)
    for binary in (True, False):
        tensor = triton.InferInput("x", [1, 2], "BYTES")
        tensor.set_data_from_numpy(words, binary_data=binary)
        wanted = [triton.InferRequestedOutput("y", binary_data=binary)]
        found = client.infer("identity_bytes", [tensor], outputs=wanted).as_numpy("y").ravel()
        texts = [one.decode() if isinstance(one, bytes) else one for one in found]
        assert texts == words.ravel().tolist()


def classify(client: Any) -> None:
    image = triton.InferInput("image", [2, 8, 8, 3], "UINT8")
    image.set_data_from_numpy(np.tile(np.array([255, 0, 51], np.uint8), (2, 8, 8, 1)))
    wanted = [triton.InferRequestedOutput("scores", class_count=2)]
    scores = client.infer("colours", [image], outputs=wanted).as_numpy("scores")
    assert scores.tolist() == [[b"1.000000:0:red", b"0.200000:2:blue"]] * 2


def share(client: Any) -> None:
    """Inputs and an output in shared memory, the other output behind the JSON."""
    given = make_region(client, "given", [FIVES, ONES], 128)
    taken = make_region(client, "taken", [], 64)
    tensors = inputs()
    wanted = [triton.InferRequestedOutput(f"OUTPUT{i}", binary_data=True) for i in (0, 1)]
    for i in (0, 1):
        tensors[i].set_shared_memory("given", 64, offset=64 * i)
    wanted[0].set_shared_memory("taken", 64)
    result = client.infer("simple", tensors, outputs=wanted)
    assert (memory.get_contents_as_numpy(taken, np.int32, [1, 16]) == FIVES + ONES).all()
    assert (result.as_numpy("OUTPUT1") == FIVES - ONES).all()
    regions = client.get_system_shared_memory_status()
    assert {one["name"]: one["byte_size"] for one in regions} == {"given": 128, "taken": 64}
    assert client.get_cuda_shared_memory_status() == []
    let_go(client, given, taken)


def observe(client: Any) -> None:
    (found,) = client.get_inference_statistics("simple")["model_stats"]
    assert found["inference_stats"]["success"]["count"] > 0
    assert client.update_log_settings({"log_verbose_level": 1})["log_verbose_level"] == 1
    assert client.update_log_settings({"log_verbose_level": 0})["log_info"] is True
    changed = client.update_trace_settings("simple", {"trace_rate": "5", "trace_count": None})
    assert changed["trace_rate"] == "5"
    assert client.get_trace_settings()["trace_rate"] == "1000"
    client.update_trace_settings("simple", {"trace_rate": None})


def meet_errors(client: Any) -> None:
    for call, expected in (
        (lambda: client.infer("nobody", inputs()), "Request for unknown model: 'nobody'"),
        (lambda: client.infer("simple", inputs()[:1]), "needs the input INPUT1 too"),
        (lambda: client.get_model_config("simple", "9"), "Request for unknown model"),
        (lambda: client.infer("simple", inputs(), sequence_id=7), "sequences are not supported"),
        (lambda: client.register_cuda_shared_memory("a", b"QUFB", 0, 8), "takes no CUDA regions"),
    ):
        check_told(call, expected)


async def infer_async(address: str) -> None:
    async with triton_aio.InferenceServerClient(address) as client:
        for result in await asyncio.gather(*(client.infer("simple", inputs()) for _ in range(20))):
            check_sums(result)


STEPS = (ask_about, infer, infer_strings, classify, share, observe, meet_errors)


def main(address: str) -> None:
    with triton.InferenceServerClient(address, concurrency=4) as client:
        for step in STEPS:
            step(client)
    asyncio.run(infer_async(address))
    print("all calls answered")  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(sys.argv[1])
