"""The files of the page, with headers that keep everything foreign out of it."""

import hashlib
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import PurePath

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from crossrun_server.rest import json_text
from crossrun_server.rest.statuses import failed

TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".jpg": "image/jpeg",  # what the bundled models know: `crossrun-export pictures` drew it
}
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' blob: data:",
    "media-src": "'self' blob:",
    "connect-src": "'self'",
    "form-action": "'none'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "cache-control": "no-cache",  # is asked for again, and answered by 304
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def routes(grpc_port: int | None) -> list[Route]:
    """Return the routes of the page.

    Args:
        grpc_port: is named in the commands that the page shows; None: there is no page.
    """
    if grpc_port is None:
        return [_root(_switched_off)]

    async def server(_: Request) -> Response:
        return json_text.response({"grpc_port": grpc_port})

    files = [
        _route(entry.name, entry.read_bytes())
        for entry in resources.files(__package__).joinpath("files").iterdir()
        if PurePath(entry.name).suffix in TYPES
    ]
    return [*files, Route("/page/server.json", server)]


async def _switched_off(_: Request) -> Response:
    return failed(404, "the page is switched off (--no-page); REST answers below /v1 and /v2")


def _route(name: str, content: bytes) -> Route:
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = HEADERS | {"etag": tag}
    kind = TYPES[PurePath(name).suffix]

    async def file(request: Request) -> Response:
        known = [one.strip() for one in request.headers.get("if-none-match", "").split(",")]
        if tag in known:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=kind)

    return _root(file) if name == "index.html" else Route(f"/page/{name}", file)


def _root(page: Callable[[Request], Awaitable[Response]]) -> Route:
    """Return the route of /: the page for browsers, for others what KServe's v1 asks there."""

    async def root(request: Request) -> Response:
        browser = "text/html" in request.headers.get("accept", "")
        response = await page(request) if browser else json_text.response({"status": "alive"})
        response.headers["vary"] = "accept"
        return response

    return Route("/", root)
