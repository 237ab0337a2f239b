"""What users of KServe's clients do, one call after the other; run by test_kserve.py.

It runs in `.venv-kserve`, which has nothing of ours: KServe and tritonclient share no process.
"""

import asyncio
import sys
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput

FIVES, ONES = np.full((1, 16), 5, np.int32), np.ones((1, 16), np.int32)
MODEL, TEXTS, NOBODY = "simple", "identity_bytes", "nobody"


def asked(binary: bool, **more: Any) -> InferRequest:
    tensors = [InferInput(f"INPUT{i}", [1, 16], "INT32") for i in (0, 1)]
    for tensor, values in zip(tensors, (FIVES, ONES), strict=True):
        tensor.set_data_from_numpy(values, binary_data=binary)
    return InferRequest(MODEL, tensors, request_id="a", **more)


def check(answer: Any) -> None:
    found = {output.name: output.as_numpy().tolist() for output in answer.outputs}
    assert found == {"OUTPUT0": (FIVES + ONES).tolist(), "OUTPUT1": (FIVES - ONES).tolist()}, found
    assert (answer.id, answer.model_name) == ("a", MODEL), answer  # over REST it reads no version


async def rest_v2(url: str) -> None:
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        tell("live", await client.is_server_live(url))
        tell("ready", await client.is_server_ready(url))
        tell("model ready", await client.is_model_ready(url, MODEL))
        assert not await client.is_model_ready(url, NOBODY)
        for binary in (False, True):
            check(await client.infer(url, asked(binary), MODEL))
            wanted = [RequestedOutput(f"OUTPUT{i}", {"binary_data": bool(i)}) for i in (0, 1)]
            check(await client.infer(url, asked(binary, request_outputs=wanted), MODEL))
            await infer_texts(client, url, binary)
            tell(f"infer, {'binary' if binary else 'JSON'}", True)


async def infer_texts(client: Any, url: str, binary: bool) -> None:
    words = np.array([["crossrun", "überlaufen"]], np.object_)
    tensor = InferInput("x", [1, 2], "BYTES")
    tensor.set_data_from_numpy(words, binary_data=binary)
    request = InferRequest(TEXTS, [tensor], parameters={"binary_data_output": binary})
    (found,) = (await client.infer(url, request, TEXTS)).outputs
    assert found.as_numpy().tolist() == words.tolist(), found


async def rest_v1(url: str) -> None:
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        tell("live", await client.is_server_live(url))
        tell("model ready", await client.is_model_ready(url, MODEL))
        row = {"INPUT0": FIVES[0].tolist(), "INPUT1": ONES[0].tolist()}
        (found,) = (await client.infer(url, {"instances": [row]}, MODEL))["predictions"]
        assert found == {"OUTPUT0": [6] * 16, "OUTPUT1": [4] * 16}, found
        tell("predict", True)


async def grpc_v2(address: str) -> None:
    async with InferenceGRPCClient(address) as client:
        tell("live", await client.is_server_live())
        tell("ready", await client.is_server_ready())
        tell("model ready", await client.is_model_ready(MODEL))
        for binary in (False, True):
            check(await client.infer(asked(binary)))
            tell(f"infer, {'raw' if binary else 'typed'}", True)


def tell(call: str, answer: object) -> None:
    assert answer is True, (call, answer)
    print(call)  # noqa: T201 - the test reads it


if __name__ == "__main__":
    name, address = sys.argv[1:]
    asyncio.run({"v1": rest_v1, "v2": rest_v2, "grpc": grpc_v2}[name](address))
