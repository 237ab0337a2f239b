"""The process that asks a server: always the same request, as lean as Python allows.

    python -m crossrun_bench.measurements.load.generator.process < {a Request}, then commands
    {"do": "turn", "address": "127.0.0.1:8001", "clients": 4, "warm": 0.5, "seconds": 3}
        → {"wall_ns": …, "us": […], "errors": {…}, "served": …, "cpu_ns": …, …}
    {… , "schedule": [ns from the beginning, …]} instead of clients: an open loop
    {… , "form": "jpeg"}: one of `forms` instead of raw

The request is serialized once. Replies are not parsed, except the first of each turn, which has to
be right. An address that begins with http:// gets a POST, see `posting`.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import grpc
import numpy as np
from numpy.typing import NDArray

from crossrun_bench.codec import decode
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.load.generator import loops, posting
from crossrun_bench.measurements.load.generator.counting import Call, Failed
from crossrun_bench.measurements.load.generator.forms import JPEG, MAKERS
from crossrun_bench.measurements.tasks import Request
from crossrun_bench.models import heads
from crossrun_bench.models.model import Model
from crossrun_bench.processes.driven import Reply, commands, driven
from crossrun_bench.targets.channels import channel

Answer = NDArray[np.float32]
Read = Callable[[Any], Answer]
Opened = AbstractContextManager[tuple[Sequence[Call], Read]]

TOLERANCE = 1e-3  # of any probability, compared with onnxruntime in process


def main() -> int:
    """Serve commands until stdin ends."""
    return driven(_serve)


def _serve(first_line: Any, reply: Reply) -> None:
    request = decode(Request, first_line)
    expected = heads.probabilities(request.model, np.load(request.expected))
    for command in commands():
        form, clients = command.get("form", "raw"), loops.callers(command)
        with _opened(request, command["address"], form, clients) as (calls, read):
            _check(calls[0], _probabilities(read, request.model, form), expected)
            reply(loops.turn(calls, command))


def _opened(request: Request, address: str, form: str, clients: int) -> Opened:
    if address.startswith("http://"):
        return _http(request, address, form, clients)
    return _grpc(request, address, form, clients)


def _probabilities(read: Read, model: Model, form: str) -> Read:
    """A function that reads probabilities; the reply to an encoded picture holds them already."""
    if form == JPEG:
        return read
    return lambda reply: heads.probabilities(model, read(reply).reshape(1, -1))


def _check(call: Call, read: Read, expected: Answer) -> None:
    """Raise BenchError for a wrong answer; the turn counts requests without an answer."""
    with suppress(Failed):
        answer = read(call()[0])
        if answer.size != expected.size:
            raise BenchError(f"wrong answer: {answer.size} numbers, expected {expected.size}")
        difference = float(np.abs(answer.ravel() - expected.ravel()).max())
        if not difference <= TOLERANCE:
            raise BenchError(f"wrong answer: differs from in process by {difference:.2g}")


@contextmanager
def _grpc(
    request: Request, address: str, name: str, clients: int
) -> Iterator[tuple[Sequence[Call], Read]]:
    """Callers that share one channel. Reading the server's timings takes 6 µs of 200."""
    with channel(address) as opened:
        form = MAKERS[name](request, opened)
        ask: Any = opened.unary_unary(form.method)

        def call() -> tuple[object, str]:
            try:
                reply, answered = ask.with_call(form.body)
            except grpc.RpcError as error:
                raise Failed(error.code().name) from error
            return reply, _told(answered.trailing_metadata())

        yield [call] * clients, form.read


def _told(metadata: Sequence[tuple[str, str]]) -> str:
    return next((value for key, value in metadata if key == "server-timing"), "")


@contextmanager
def _http(
    request: Request, address: str, form: str, clients: int
) -> Iterator[tuple[Sequence[Call], Read]]:
    post = posting.MAKERS[form](request)
    with posting.callers(address, clients, post) as calls:
        yield calls, post.read


if __name__ == "__main__":
    sys.exit(main())
