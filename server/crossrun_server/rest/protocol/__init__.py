"""The Open Inference Protocol over HTTP, with Triton's extensions: the paths below /v2."""

from typing import Any

from starlette.routing import Route

from crossrun_server.rest.calls import Calls
from crossrun_server.rest.protocol import health, infer, memory, metadata, repository, settings
from crossrun_server.rest.protocol.endpoints import described, route

ENDPOINTS = (
    *health.ENDPOINTS, *metadata.ENDPOINTS, *repository.ENDPOINTS, *memory.ENDPOINTS,
    *settings.ENDPOINTS,
)  # fmt: skip
PATHS: dict[str, Any] = dict(infer.PATHS)
for _one in ENDPOINTS:
    PATHS.setdefault(_one.path, {})[_one.verb.lower()] = described(_one)
for _path in (one.path for one in health.ENDPOINTS):
    PATHS[_path]["get"]["responses"]["503"] = {"description": "No."}


def routes(calls: Calls) -> list[Route]:
    """Return all routes of the protocol."""
    return [*infer.routes(calls), *(route(calls, endpoint) for endpoint in ENDPOINTS)]
