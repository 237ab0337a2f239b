"""The HTTP application: the routes of all rooms, and what answers where there is none."""

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from crossrun_server.rest import protocol
from crossrun_server.rest.calls import Calls
from crossrun_server.rest.statuses import failed


def application(calls: Calls) -> Starlette:
    """Put the application together."""
    routes = [*protocol.routes(calls)]
    return Starlette(routes=routes, exception_handlers={HTTPException: _unanswered})


async def _unanswered(request: Request, error: Exception) -> Response:
    """Say that nothing answers a path, or not this method."""
    assert isinstance(error, HTTPException)
    text = f"{request.method} {request.url.path}: {error.detail}"
    return failed(error.status_code, text, error.headers)
