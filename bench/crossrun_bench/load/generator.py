"""The process that asks a server: the same request all the time, as lean as Python allows.

    python -m crossrun_bench.load.generator < {a Request}, then commands
    {"do": "turn", "address": "127.0.0.1:8001", "clients": 4, "warm": 0.5, "seconds": 3}
        → {"wall_ns": …, "us": […], "errors": {…}, "served": …, "cpu_ns": …, …}
    {… , "schedule": [ns from the beginning, …]} in the place of clients: an open loop

The request is serialized once and replies are not parsed, but for the first of each turn, which has
to be right. An address that begins with http:// gets the tensor's bytes in a POST.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPConnection, HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import grpc
import numpy as np

from crossrun.oip import grpc_service_pb2 as oip
from crossrun_bench.codec import decode
from crossrun_bench.driven import commands, driven
from crossrun_bench.errors import BenchError
from crossrun_bench.load.closed_loop import loaded
from crossrun_bench.load.counting import Failed
from crossrun_bench.load.open_loop import MOST, offered
from crossrun_bench.load.tasks import Request
from crossrun_bench.model import as_input

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from crossrun_bench.driven import Reply
    from crossrun_bench.load.counting import Call
    from crossrun_bench.model import Model

    Answer = NDArray[np.float32]

_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_HEADERS = {"Content-Type": "application/octet-stream"}
TOLERANCE = 1e-3  # of any probability, against onnxruntime in process


def main() -> int:
    """Serve commands until stdin ends."""
    return driven(_serve)


def _serve(first_line: Any, reply: Reply) -> None:
    request = decode(Request, first_line)
    tensor, expected = as_input(request.model, np.load(request.pixels)), np.load(request.expected)
    grpc_body, http_body = _message(request.model, tensor), tensor.tobytes()
    for command in commands():
        address, schedule = command["address"], command.get("schedule")
        clients = command["clients"] if schedule is None else MOST + 1
        http = address.startswith("http://")
        opened = _http(address, clients, http_body) if http else _grpc(address, clients, grpc_body)
        with opened as calls:
            _check(calls[0], _http_answer if http else partial(_grpc_answer, request), expected)
            loop = loaded if schedule is None else partial(offered, schedule=schedule)
            reply(loop(calls, warm=command["warm"], seconds=command["seconds"]))


def _message(model: Model, tensor: NDArray[Any]) -> bytes:
    image = oip.ModelInferRequest.InferInputTensor(
        name=model.input_name, datatype=model.input_type, shape=tensor.shape
    )
    message = oip.ModelInferRequest(
        model_name=model.name, inputs=[image], raw_input_contents=[tensor.tobytes()]
    )
    return message.SerializeToString()


def _check(call: Call, read: Callable[[Any], Answer], expected: Answer) -> None:
    """BenchError for a wrong answer; none at all is what the turn counts."""
    with suppress(Failed):
        answer = read(call()[0])
        if answer.size != expected.size:
            raise BenchError(f"wrong answer: {answer.size} numbers, expected {expected.size}")
        difference = float(np.abs(answer.ravel() - expected.ravel()).max())
        if not difference <= TOLERANCE:
            raise BenchError(f"wrong answer: differs from in process by {difference:.2g}")


@contextmanager
def _grpc(address: str, clients: int, body: bytes) -> Iterator[Sequence[Call]]:
    """Callers that share one channel. Reading what the server told takes 6 µs of 200."""
    with grpc.insecure_channel(address) as channel:
        ask: Any = channel.unary_unary(_METHOD)

        def call() -> tuple[object, str]:
            try:
                reply, answered = ask.with_call(body)
            except grpc.RpcError as error:
                raise Failed(error.code().name) from error
            return reply, _told(answered.trailing_metadata())

        yield [call] * clients


def _told(metadata: Sequence[tuple[str, str]]) -> str:
    return next((value for key, value in metadata if key == "server-timing"), "")


def _grpc_answer(request: Request, reply: bytes) -> Answer:
    """Raw, or as numbers: both are allowed."""
    message = oip.ModelInferResponse.FromString(reply)
    names = [output.name for output in message.outputs]
    if request.model.output_name not in names:
        raise BenchError(f"wrong answer: no output '{request.model.output_name}'")
    position = names.index(request.model.output_name)
    if message.raw_output_contents:
        return np.frombuffer(message.raw_output_contents[position], np.float32)
    return np.array(message.outputs[position].contents.fp32_contents, np.float32)


@contextmanager
def _http(address: str, clients: int, body: bytes) -> Iterator[Sequence[Call]]:
    """Callers with a kept connection each."""
    parts = urlsplit(address)
    connections = [HTTPConnection(parts.netloc) for _ in range(clients)]
    try:
        yield [partial(_post, connection, parts.path, body) for connection in connections]
    finally:
        for connection in connections:
            connection.close()


def _post(connection: HTTPConnection, path: str, body: bytes) -> tuple[object, str]:
    try:
        connection.request("POST", path, body, _HEADERS)
        response = connection.getresponse()
        reply = response.read()
    except (OSError, HTTPException) as error:
        connection.close()
        raise Failed("UNAVAILABLE") from error
    if response.status != 200:
        raise Failed(f"HTTP {response.status}")
    return reply, response.headers.get("server-timing", "")


def _http_answer(reply: bytes) -> Answer:
    return np.frombuffer(reply, np.float32)


if __name__ == "__main__":
    sys.exit(main())
