"""A caller who does no harm, in a process of its own, and how long it had to wait."""

import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import grpc

from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from requests_of import infer

PAUSE = 0.005  # seconds between two calls


@dataclass
class Waits:
    """What the neighbour saw since it was last asked."""

    calls: int = 0
    refused: int = 0
    longest: float = 0.0  # seconds


@contextmanager
def neighbour(address: str, model: str) -> Iterator[Callable[[], Waits]]:
    """Ask the model, one call after the other, until the block ends.

    Yields:
        A function that returns what happened since it was last called.
    """
    context = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
    ours, theirs = context.Pipe()
    process = context.Process(target=_ask, args=(address, model, theirs), daemon=True)
    process.start()
    theirs.close()

    def told() -> Waits:
        ours.send("tell")
        waits: Waits = ours.recv()
        return waits

    told()  # it runs
    try:
        yield told
    finally:
        process.kill()
        process.join()


def _ask(address: str, model: str, pipe: Connection) -> None:
    waits = Waits()
    with grpc.insecure_channel(address) as channel:
        request, stub = infer(channel, model), Stub(channel)
        while True:
            _call(stub, request, waits)
            if pipe.poll(PAUSE):
                pipe.recv()
                pipe.send(waits)
                waits = Waits()


def _call(stub: Stub, request: object, waits: Waits) -> None:
    started = time.monotonic()
    try:
        stub.ModelInfer(request, timeout=600)
    except grpc.RpcError:
        waits.refused += 1
    waits.calls += 1
    waits.longest = max(waits.longest, time.monotonic() - started)
