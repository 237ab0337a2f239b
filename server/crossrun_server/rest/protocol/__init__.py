"""The Open Inference Protocol over HTTP, with Triton's extensions: the paths below /v2."""

from starlette.routing import Route

from crossrun_server.rest.calls import Calls
from crossrun_server.rest.protocol import health, infer, memory, metadata, repository, settings
from crossrun_server.rest.protocol.endpoints import route

ENDPOINTS = (
    *health.ENDPOINTS, *metadata.ENDPOINTS, *repository.ENDPOINTS, *memory.ENDPOINTS,
    *settings.ENDPOINTS,
)  # fmt: skip


def routes(calls: Calls) -> list[Route]:
    """Return all routes of the protocol."""
    return [*infer.routes(calls), *(route(calls, endpoint) for endpoint in ENDPOINTS)]
