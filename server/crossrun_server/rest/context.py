"""An HTTP request, as those who answer calls see it."""

import asyncio
import math
import re
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, NoReturn

import grpc
from starlette.requests import Request

from crossrun_server.errors import InvalidRequest

# gRPC's own header, as gateways from HTTP to gRPC take it: up to eight digits and a unit.
# https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
TIMEOUT = "grpc-timeout"
TIME = re.compile(r"(\d{1,8})([HMSmun])", re.ASCII)
UNITS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}  # seconds
PUSHBACK = "grpc-retry-pushback-ms"
CLIENT_NAMES = "client_names"  # of its certificate, in the state of a connection


class HttpContext:
    """A call. Has what the services use of grpc.aio.ServicerContext, with its meaning."""

    def __init__(self, request: Request) -> None:
        self.ending: tuple[grpc.StatusCode, str] | None = None  # of an abort
        self.headers: dict[str, str] = {}  # of the response
        self.held = 0  # bytes of its request, and of its answer
        self.whole = False  # whether its request has been read to the end
        self.status: int | None = None  # of HTTP; None: that of the ending
        self._request = request
        self._gone = False
        self._deadline: float | None = None  # on the monotonic clock, seconds
        self._metadata = tuple(request.headers.items())

    def done(self) -> bool:
        """Whether the client has gone."""
        return self._gone

    def read_deadline(self) -> None:
        """Find out until when the client waits.

        Raises:
            InvalidRequest: the header is no time.
        """
        sent = self._request.headers.get(TIMEOUT)
        if sent is None:
            return
        found = TIME.fullmatch(sent)
        if not found:
            raise InvalidRequest(
                f"{TIMEOUT} is {sent!r}, expected up to 8 digits and one of H M S m u n, as in 500m"
            )
        self._deadline = monotonic() + int(found[1]) * UNITS[found[2]]

    def time_remaining(self) -> float | None:
        """Return how many seconds the client waits; None if it has not said."""
        return None if self._deadline is None else max(0.0, self._deadline - monotonic())

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        """Return the headers; their names are in lower case, as gRPC's are."""
        return self._metadata

    def peer(self) -> str:
        """Return where the client is, such as `ipv4:127.0.0.1:50000`."""
        client = self._request.client
        return address_of(client.host, client.port) if client else ""

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """Return the names in the client's certificate: `x509_common_name` and the others."""
        found: Mapping[str, Sequence[bytes]] = self._request.scope["state"].get(CLIENT_NAMES, {})
        return found

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str]]) -> None:
        """Send metadata as headers; a pushback becomes Retry-After, which has whole seconds."""
        for name, value in metadata:
            if name == PUSHBACK:
                self.headers["retry-after"] = str(math.ceil(int(value) / 1e3))
            self.headers[name] = value

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: Sequence[tuple[str, str]] = (),
    ) -> NoReturn:
        """End the call with an error."""
        self.ending = code, details
        self.set_trailing_metadata(trailing_metadata)
        raise grpc.aio.AbortError("the call is aborted")

    async def gone(self) -> None:
        """Return once the client has gone; never, if its request has not been read to the end."""
        if not self.whole:  # to listen would be to ask for more
            await asyncio.Future()
        message: Any = {}
        while message.get("type") != "http.disconnect":
            message = await self._request.receive()
        self._gone = True


def address_of(host: str, port: int) -> str:
    """Write an address as gRPC does, such as `ipv4:127.0.0.1:50000`."""
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"
