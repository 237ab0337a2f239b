"""A server that is unavailable for a moment."""

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import (
    GRPCInferenceServiceServicer,
    add_GRPCInferenceServiceServicer_to_server,
)


@dataclass
class Flaky(GRPCInferenceServiceServicer):
    """Answers UNAVAILABLE, so many times, and then that it lives."""

    refusals: int
    calls: list[str] = field(default_factory=list)

    def ServerLive(self, request: Any, context: Any) -> pb.ServerLiveResponse:  # noqa: ARG002, N802
        """Count the call, and refuse it if it is one of the first."""
        self.calls.append("ServerLive")
        if len(self.calls) <= self.refusals:
            context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return pb.ServerLiveResponse(live=True)


@contextmanager
def flaky(refusals: int) -> Iterator[tuple[str, Flaky]]:
    """Serve one; yields its address, and itself."""
    one, server = Flaky(refusals), grpc.server(futures.ThreadPoolExecutor(2))
    add_GRPCInferenceServiceServicer_to_server(one, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", one
    finally:
        server.stop(None).wait()
