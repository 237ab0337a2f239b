"""An HTTP request, as those who answer calls see it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import grpc
from starlette.requests import Request

PUSHBACK = "grpc-retry-pushback-ms"
CLIENT_NAMES = "client_names"  # of its certificate, in the state of a connection


class HttpContext:
    """A call. Has what the services use of grpc.aio.ServicerContext, with its meaning."""

    def __init__(self, request: Request) -> None:
        self.ending: tuple[grpc.StatusCode, str] | None = None  # of an abort
        self.headers: dict[str, str] = {}  # of the response
        self.held = 0  # bytes of its request
        self.too_large = False  # its request
        self._request = request
        self._gone = False
        self._metadata = tuple(request.headers.items())

    def done(self) -> bool:
        """Whether the client has gone."""
        return self._gone

    def time_remaining(self) -> float | None:
        """Return None: HTTP has no deadlines."""

    def invocation_metadata(self) -> Sequence[tuple[str, str]]:
        """Return the headers; their names are in lower case, as gRPC's are."""
        return self._metadata

    def peer(self) -> str:
        """Return where the client is, such as `ipv4:127.0.0.1:50000`."""
        client = self._request.client
        if client is None:
            return ""
        version, host = (
            ("ipv6", f"[{client.host}]") if ":" in client.host else ("ipv4", client.host)
        )
        return f"{version}:{host}:{client.port}"

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
        """Return once the client has gone; its request has been read."""
        message: Any = {}
        while message.get("type") != "http.disconnect":
            message = await self._request.receive()
        self._gone = True
