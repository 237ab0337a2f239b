"""Watchers of the health, and how many there may be."""

import asyncio
from typing import Any

import pytest
from grpc_health.v1 import health_pb2 as pb

from crossrun_server.errors import TooMany
from crossrun_server.services.health import MOST_WATCHERS, HealthService


def test_only_so_many_watch() -> None:
    """One more is refused; who leaves makes room for another."""

    async def watch() -> None:
        health, nobody = HealthService(), None
        request = pb.HealthCheckRequest(service="model")
        watchers: list[Any] = [health.Watch(request, nobody) for _ in range(MOST_WATCHERS)]  # type: ignore[arg-type]
        for watcher in watchers:
            await anext(watcher)
        with pytest.raises(TooMany):
            await anext(health.Watch(request, nobody))  # type: ignore[arg-type]
        await watchers[0].aclose()
        assert (await anext(health.Watch(request, nobody))).status  # type: ignore[arg-type]

    asyncio.run(watch())
