"""The HTTP application: the routes of all rooms, and what answers where there is none."""

import logging

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from crossrun_server.rest import openapi, reference
from crossrun_server.rest.calls import Calls
from crossrun_server.rest.page import static
from crossrun_server.rest.port import packing
from crossrun_server.rest.port.origins import Guard, Origins
from crossrun_server.rest.port.packing import Packing
from crossrun_server.rest.statuses import failed

log = logging.getLogger(__name__)

# What pages of --http-cors may read.
EXPOSED = ("inference-header-content-length", "retry-after", "server-timing")


def application(calls: Calls, origins: Origins, page: int | None) -> Starlette:
    """Put the application together; for `page` see `static.routes`."""
    routes = [route for room in openapi.ROOMS for route in room.routes(calls)]
    return Starlette(
        routes=[*routes, *openapi.routes(calls), *reference.routes(), *static.routes(page)],
        middleware=[
            Middleware(Guard, origins=origins),
            *_cors(origins.pages),
            Middleware(
                Packing,
                minimum_size=packing.SHORT,
                compresslevel=packing.LEVEL,
                thread_minimum_size=packing.AT_ONCE,
            ),
        ],
        exception_handlers={HTTPException: _unanswered, Exception: _unexpected},
    )


def _cors(pages: tuple[str, ...]) -> list[Middleware]:
    if not pages:
        return []
    cors = Middleware(
        CORSMiddleware,
        allow_origins=pages,
        allow_methods=("GET", "POST"),
        allow_headers=("*",),
        expose_headers=EXPOSED,
    )
    return [cors]


async def _unanswered(request: Request, error: Exception) -> Response:
    """Say that nothing answers a path, or not this method."""
    assert isinstance(error, HTTPException)
    text = f"{request.method} {request.url.path}: {error.detail}"
    return failed(error.status_code, text, error.headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    """Log what nobody expected; uvicorn's log is silent."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return failed(500, "internal error; the server's log has the details")
