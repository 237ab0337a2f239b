"""Requests over HTTP: as they should be, and byte by byte."""

import asyncio
import json
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import replace
from http.client import HTTPConnection, HTTPSConnection
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from crossrun_server.access import audit
from crossrun_server.access.gate import AccessConfig, Gate
from crossrun_server.fronts.handlers import Served
from crossrun_server.models.repository import Repository
from crossrun_server.rest import serving
from crossrun_server.services.edge import Edge
from tests.support.running import Server

T = TypeVar("T")
LIVE = b"GET /v2/health/live HTTP/1.1\r\nhost: localhost\r\n\r\n"


class Answer(NamedTuple):
    """What has come back."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(  # noqa: PLR0913 - a request has so many parts
    server: Server,
    method: str,
    path: str,
    body: bytes | str | Any = b"",
    *,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """Send a request; a body that is neither bytes nor text is sent as JSON."""
    place = urlsplit(server.http)
    kind: Any = HTTPSConnection if context else HTTPConnection
    more = {"context": context} if context else {}
    connection = kind(place.hostname, place.port, timeout=60, **more)
    try:
        data = body if isinstance(body, bytes | str) else json.dumps(body)
        connection.request(method, path, data or None, dict(headers or {}))
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return Answer(answer.status, named, answer.read())
    finally:
        connection.close()


def connected(server: Server | int) -> socket.socket:
    """Open a connection to the port of a server."""
    port = server if isinstance(server, int) else urlsplit(server.http).port
    return socket.create_connection(("127.0.0.1", port or 0), timeout=60)


def told(server: Server | int, data: bytes) -> bytes:
    """Send bytes and return what comes until the server hangs up."""
    with connected(server) as client:
        client.sendall(data)
        return until_end(client)


def until_end(client: socket.socket) -> bytes:
    """Return what comes until the server hangs up."""
    found = b""
    try:
        while part := client.recv(1 << 16):
            found += part
    except ConnectionResetError:
        pass
    return found


def head(client: socket.socket) -> bytes:
    """Read the head of an answer."""
    found = b""
    while b"\r\n\r\n" not in found:
        part = client.recv(1)
        assert part, found
        found += part
    return found


def asked(served: Served, ask: Callable[[int], T]) -> T:
    """Serve HTTP in this process on a free port while `ask` runs on a thread with the port."""

    async def serve() -> T:
        gate = Gate(AccessConfig(), remote=False)
        edge = Edge(gate, audit.Audit(), served.failures).of_made_messages()
        mine = replace(served, interceptors=(edge,))
        models: Repository = None  # type: ignore[assignment]  # no room here asks it
        inner = serving.Inner(gate, models, edge.in_flight, (), None)
        opened = serving.serving(mine, inner, "127.0.0.1", 0, shared_port=False, last_words=1.0)
        async with opened as port:
            return await asyncio.to_thread(ask, port)

    return asyncio.run(serve())
