"""What a user of tritonclient does to control models; run by test_control.py."""

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from tests.support import models


def told(call: Callable[[], object]) -> str:
    try:
        call()
    except InferenceServerException as error:
        return f"{error.status()}: {error.message()}"
    return "no error"


def state(client: Any, name: str) -> list[tuple[str, str]]:
    index = client.get_model_repository_index().models
    return [(line.version, line.state) for line in index if line.name == name]


def triple(client: Any, name: str) -> float:
    tensor = triton.InferInput("x", [1, 1], "FP32")
    tensor.set_data_from_numpy(np.full((1, 1), 3, np.float32))
    return float(client.infer(name, [tensor]).as_numpy("y")[0, 0])


def load_and_unload(client: Any) -> None:
    assert state(client, "kept") == [("2", "READY")]
    client.load_model("kept", config=json.dumps({"max_batch_size": "16"}))
    assert client.get_model_config("kept").config.max_batch_size == 16
    client.unload_model("kept")
    assert not client.is_model_ready("kept")
    assert "Request for unknown model: 'kept'" in told(lambda: triple(client, "kept"))
    client.load_model("kept")
    assert client.is_model_ready("kept")
    assert triple(client, "kept") == 6


def send_files(client: Any) -> None:
    file = models.scale(5).SerializeToString()
    client.load_model("sent", config="{}", files={"file:1/model.onnx": file})
    assert triple(client, "sent") == 15
    client.unload_model("sent", unload_dependents=True)
    assert not client.is_model_ready("sent")


def meet_errors(client: Any) -> None:
    polled = "failed to poll from model repository"
    assert "failed to load 'wrong'" in told(lambda: client.load_model("wrong"))
    assert polled in told(lambda: client.load_model("wrong"))
    long = {"file:" + "A" * 256: b"a"}
    answer = told(lambda: client.load_model("kept", config="{}", files=long))
    assert answer.startswith("StatusCode.INTERNAL"), answer
    assert polled in answer
    broken = told(lambda: client.load_model("kept", config='"parameters": {{}}'))
    assert "failed to load" in broken
    assert client.is_server_live()
    assert triple(client, "kept") == 6


def main(address: str) -> None:
    extensions = {"model_repository", "model_repository(unload_dependents)"}
    with triton.InferenceServerClient(address) as client:
        assert extensions <= set(client.get_server_metadata().extensions)
        for step in (load_and_unload, send_files, meet_errors):
            step(client)
    print("all calls answered")  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(sys.argv[1])
