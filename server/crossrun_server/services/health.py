"""grpc.health.v1: whether the server, its services and each model answer, and every change.

Each watcher is told of every change, whoever else watches or leaves. A slow watcher does not hold
up the code that sets a state.
"""

import asyncio
from collections.abc import AsyncIterator

from grpc_health.v1 import health_pb2 as pb
from grpc_health.v1.health_pb2_grpc import HealthServicer

from crossrun_server.errors import TooMany, UnknownModel
from crossrun_server.services.edge import Context

SERVING = pb.HealthCheckResponse.SERVING
NOT_SERVING = pb.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = pb.HealthCheckResponse.SERVICE_UNKNOWN
MOST_WATCHERS = 1000  # each is told of every change


class HealthService(HealthServicer):
    """Answers for names: "", services and models."""

    def __init__(self) -> None:
        self._serving: dict[str, bool] = {}
        self._stopped = False
        self._watchers = 0
        self._changed = asyncio.Event()

    def set(self, name: str, serving: bool) -> None:
        """Note whether a name is served; after `stop` no name is."""
        self._serving[name] = serving and not self._stopped
        self._changed.set()
        self._changed = asyncio.Event()

    def stop(self) -> None:
        """Note that nothing is served from now on."""
        self._stopped = True
        for name in list(self._serving):
            self.set(name, False)

    async def Check(
        self, request: pb.HealthCheckRequest, context: Context
    ) -> pb.HealthCheckResponse:
        """Return the state of a name; the status is NOT_FOUND if nobody knows it."""
        status = self._status(request.service)
        if status == SERVICE_UNKNOWN:
            raise UnknownModel(f"{request.service!r} is not known")
        return pb.HealthCheckResponse(status=status)

    async def Watch(
        self, request: pb.HealthCheckRequest, context: Context
    ) -> AsyncIterator[pb.HealthCheckResponse]:
        """Stream the state of a name, known or not, and every change of it."""
        if self._watchers >= MOST_WATCHERS:
            raise TooMany(f"{MOST_WATCHERS} callers watch the health already, which is the most")
        self._watchers += 1
        try:
            async for status in self._changes(request.service):
                yield pb.HealthCheckResponse(status=status)
        finally:
            self._watchers -= 1

    async def _changes(self, name: str) -> AsyncIterator[int]:
        told = None
        while True:
            changed = self._changed  # read first, so that no change during the yield is lost
            status = self._status(name)
            if status != told:
                yield status
                told = status
            await changed.wait()

    def _status(self, name: str) -> int:
        if name not in self._serving:
            return SERVICE_UNKNOWN
        return SERVING if self._serving[name] else NOT_SERVING
