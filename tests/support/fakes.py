"""Servers that misbehave as told, and the real generator to ask them."""

from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnxruntime

from crossrun.oip import grpc_service_pb2 as oip
from crossrun_bench.measurements.tasks import Request
from crossrun_bench.models.model import Model
from crossrun_bench.models.repository import read_model
from crossrun_bench.pictures.pictures import Batch
from crossrun_bench.pictures.prepare import drawn
from crossrun_bench.processes.piped import Piped, piped

Answer = Callable[[bytes, grpc.ServicerContext], bytes]
Method = Callable[[Any, grpc.ServicerContext], Any]


def request(repository: Path, folder: Path) -> Request:
    """One picture for the model of colours, and the right answer."""
    model = read_model(repository, "colours")
    pixels = drawn(folder, 1, model.height, model.width).pixels
    session = {"model": asdict(model), "pixels": pixels, "threads": 1, "callers": 1}
    with piped("measurements.load.generator.inprocess", "in process") as child:
        child.say(**session, spin_us=None)
        child.ask(do="answer", output=str(folder / "expected.npy"))
    return Request(model, pixels, str(folder / "expected.npy"))


def right(request: Request) -> bytes:
    """The message that answers it."""
    scores = np.load(request.expected)
    output = oip.ModelInferResponse.InferOutputTensor(
        name=request.model.output_name, datatype="FP32", shape=scores.shape
    )
    raw = [scores.tobytes()]
    return oip.ModelInferResponse(outputs=[output], raw_output_contents=raw).SerializeToString()


@contextmanager
def generator(request: Request) -> Iterator[Piped]:
    """A generator that is told what to ask."""
    with piped("measurements.load.generator.process", "generator") as child:
        child.say(**asdict(request))
        yield child


@contextmanager
def fake(answer: Answer) -> Iterator[str]:
    """A server whose ModelInfer is `answer`, bytes to bytes; gives its address."""
    with server({"inference.GRPCInferenceService": {"ModelInfer": unary(answer)}}) as address:
        yield address


@contextmanager
def services(*services: tuple[str, dict[str, tuple[type[Any], Method]]]) -> Iterator[str]:
    """A server of services with some methods, each with the message it takes; its address."""
    handlers = {
        service: {
            name: unary(answer, taken.FromString, lambda reply: reply.SerializeToString())
            for name, (taken, answer) in methods.items()
        }
        for service, methods in services
    }
    with server(handlers) as address:
        yield address


def expected(model: Model, batch: Batch) -> Any:
    """What the model itself says of a batch."""
    return onnxruntime.InferenceSession(model.onnx).run(None, {"image": batch.pixels})[0]


def unary(*how: Any) -> Any:
    """A method of one request and one reply; `how` as grpc has it."""
    made: Any = grpc.unary_unary_rpc_method_handler
    return made(*how)


@contextmanager
def server(services: dict[str, dict[str, Any]]) -> Iterator[str]:
    """A server of these methods, by service; gives its address."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    generic: Any = grpc.method_handlers_generic_handler
    server.add_generic_rpc_handlers([generic(*service) for service in services.items()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
