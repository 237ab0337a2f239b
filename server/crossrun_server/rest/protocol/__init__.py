"""The Open Inference Protocol over HTTP, with Triton's extensions: the paths below /v2."""

from starlette.routing import Route

from crossrun_server.rest.calls import Calls
from crossrun_server.rest.protocol import health, looking


def routes(calls: Calls) -> list[Route]:
    """Return all routes of the protocol."""
    return [*health.routes(calls), *looking.routes(calls)]
