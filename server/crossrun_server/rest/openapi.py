"""The description of the HTTP port: OpenAPI 3.1, made of what each room says of itself."""

from importlib.metadata import version
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crossrun_server import distribution
from crossrun_server.rest import describing, json_text, predict, protocol, providers, vision
from crossrun_server.rest.calls import Calls

PATH = "/openapi.json"
ROOMS = (protocol, predict, vision, providers)  # each has routes and PATHS
PATHS = {
    PATH: {"get": describing.operation("describe", "This document", describing.OBJECT)},
    "/docs": {
        "get": describing.operation("docs", "This document, to be read", describing.PAGE),
    },
}
BEARER = {"type": "http", "scheme": "bearer"}


def routes(calls: Calls) -> list[Route]:
    """Return the route of the document."""
    whole = document(asks=calls.gate.asks)

    async def describe(_: Request) -> Response:
        return json_text.response(whole)

    return [Route(PATH, describe)]


def document(*, asks: bool) -> dict[str, Any]:
    """Describe all paths.

    Args:
        asks: whether callers have to say who they are.
    """
    paths: dict[str, Any] = dict(PATHS)
    for room in ROOMS:
        paths |= room.PATHS
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "crossrun", "version": version(distribution.NAME)},
        "paths": paths,
        "components": {"schemas": describing.SCHEMAS},
    }
    if asks:
        found["components"]["securitySchemes"] = {"token": BEARER}
        found["security"] = [{"token": []}]
    return found
