"""Requests over HTTP: what is posted, how its reply is read, and who posts it.

Source: https://github.com/kserve/open-inference-protocol (HTTP/REST), and the extension for binary
tensors in docs/protocol/extension_binary_data.md of triton-inference-server/server.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPMessage
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import numpy as np
from numpy.typing import NDArray

from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.load.generator.counting import Call, Failed
from crossrun_bench.measurements.tasks import Request
from crossrun_bench.models.model import Model, as_input

Answer = NDArray[np.float32]

_HEAD_SIZE = "Inference-Header-Content-Length"  # bytes of the JSON before the binary tensors
_BINARY_SIZE = "binary_data_size"
_BYTES = {"Content-Type": "application/octet-stream"}


class Replied(NamedTuple):
    """A reply as it came."""

    headers: HTTPMessage
    body: bytes


@dataclass(frozen=True)
class Post:
    """What is posted again and again, behind the path of the address; and what reads a reply."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    read: Callable[[Replied], Answer]


def raw(request: Request) -> Post:
    """The tensor's bytes and nothing else; so is the reply."""
    return Post("", _BYTES, _tensor(request).tobytes(), _floats)


def binary(request: Request) -> Post:
    """The Open Inference Protocol in JSON, with the tensors' bytes behind it in both directions."""
    contents = _tensor(request).tobytes()
    wanted = {"parameters": {"binary_data_output": True}}
    head = _infer(request, {"parameters": {_BINARY_SIZE: len(contents)}}) | wanted
    text = json.dumps(head).encode()
    headers = _BYTES | {_HEAD_SIZE: str(len(text))}
    return _inferring(request, headers, text + contents)


def in_json(request: Request) -> Post:
    """The Open Inference Protocol in JSON alone: each number of the tensors is text."""
    text = json.dumps(_infer(request, {"data": _tensor(request).ravel().tolist()}))
    return _inferring(request, {"Content-Type": "application/json"}, text.encode())


MAKERS: dict[str, Callable[[Request], Post]] = {
    "raw": raw,
    "rest-binary": binary,
    "rest-json": in_json,
}


@contextmanager
def callers(address: str, clients: int, post: Post) -> Iterator[Sequence[Call]]:
    """Callers that each keep a connection; http.client switches Nagle's algorithm off."""
    parts = urlsplit(address)
    connections = [HTTPConnection(parts.netloc) for _ in range(clients)]
    try:
        yield [
            partial(_ask, connection, parts.path + post.path, post) for connection in connections
        ]
    finally:
        for connection in connections:
            connection.close()


def _ask(connection: HTTPConnection, path: str, post: Post) -> tuple[Replied, str]:
    try:
        connection.request("POST", path, post.body, post.headers)
        response = connection.getresponse()
        body = response.read()
    except (OSError, HTTPException) as error:
        connection.close()
        raise Failed("UNAVAILABLE") from error
    if response.status != 200:
        raise Failed(f"HTTP {response.status}")
    return Replied(response.headers, body), response.headers.get("server-timing", "")


def _tensor(request: Request) -> NDArray[Any]:
    return as_input(request.model, np.load(request.pixels))


def _infer(request: Request, contents: dict[str, Any]) -> dict[str, Any]:
    """A request with one tensor, whose contents are these."""
    model, shape = request.model, list(_tensor(request).shape)
    tensor = {"name": model.input_name, "datatype": model.input_type, "shape": shape}
    return {"inputs": [tensor | contents]}


def _inferring(request: Request, headers: Mapping[str, str], body: bytes) -> Post:
    path = f"/v2/models/{quote(request.model.name, safe='')}/infer"
    return Post(path, headers, body, partial(_output, request.model))


def _floats(reply: Replied) -> Answer:
    return np.frombuffer(reply.body, np.float32)


def _output(model: Model, reply: Replied) -> Answer:
    """The model's output, whether the server sends it in the JSON or behind it.

    Raises:
        BenchError: the reply lacks this output.
    """
    at = int(reply.headers.get(_HEAD_SIZE, len(reply.body)))
    outputs = json.loads(reply.body[:at]).get("outputs", [])
    for output in outputs:
        size = output.get("parameters", {}).get(_BINARY_SIZE, 0)
        if output["name"] == model.output_name:
            return _numbers(output, reply.body[at : at + size])
        at += size
    names = ", ".join(output["name"] for output in outputs)
    raise BenchError(f"expected an output '{model.output_name}', got {names}")


def _numbers(output: Mapping[str, Any], contents: bytes) -> Answer:
    if "data" in output:
        return np.array(output["data"], np.float32)
    return np.frombuffer(contents, np.float32)
