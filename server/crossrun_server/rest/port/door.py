"""The door of the HTTP port: how many may be inside, and TLS for those who come, if it is asked."""

import asyncio
import ssl
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from crossrun_server.fronts.certificates import Certificates
from crossrun_server.fronts.handlers import Served
from crossrun_server.fronts.limits import SECOND, Limits
from crossrun_server.rest.port.connection import Connection
from crossrun_server.rest.port.strangers import Strangers


class Doors:
    """Makes the connections of clients that come: uvicorn calls it for each."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._strangers = Strangers(served.failures)
        self._shaking: set[asyncio.Protocol] = set()  # hands: clients that are not inside yet

    def __call__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> asyncio.Protocol:
        """Return what takes a client's bytes."""
        taken = len(self._shaking) + len(server_state.connections)
        if taken >= self._served.limits.connections:
            return _Closed()
        state = config, server_state, app_state
        connection = Connection(*state, self._served, self._strangers)
        shown = self._served.certificates
        if shown is None:
            return connection
        return _Handshake(connection, shown, self._served.limits, self._strangers, self._shaking)


class _Closed(asyncio.Protocol):
    """Lets nobody in."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.abort()


class _Handshake(asyncio.Protocol):
    """Speaks TLS with a client, in the time that it has; then the client is inside."""

    def __init__(
        self,
        connection: Connection,
        shown: Certificates,
        limits: Limits,
        strangers: Strangers,
        shaking: set[asyncio.Protocol],
    ) -> None:
        self._connection, self._shown, self._limits = connection, shown, limits
        self._strangers, self._shaking = strangers, shaking
        self._early = b""  # what comes in the moment of the handshake's end
        self._lost = False
        self._task: asyncio.Task[None] | None = None  # which nobody else holds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._task:  # this is the transport inside TLS
            return
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()  # or the greeting would be taken for a request
        self._shaking.add(self)
        self._task = asyncio.get_running_loop().create_task(self._let_in(transport))

    def data_received(self, data: bytes) -> None:
        self._early += data

    def connection_lost(self, _: Exception | None) -> None:
        self._lost = True

    async def _let_in(self, transport: asyncio.Transport) -> None:
        try:
            inner = await asyncio.get_running_loop().start_tls(
                transport,
                self,
                self._shown.current().context,
                server_side=True,
                ssl_handshake_timeout=self._limits.handshake_timeout / SECOND,
            )
        except OSError as error:
            if isinstance(error, ssl.SSLError | ConnectionAbortedError):  # it has not just left
                self._strangers.note(transport, f"a client's TLS handshake failed: {_why(error)}")
            return
        finally:
            self._shaking.discard(self)
        if inner is None or self._lost:
            return
        inner.set_protocol(self._connection)
        self._connection.connection_made(inner)
        if self._early:
            self._connection.data_received(self._early)


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason == "HTTP_REQUEST":
        return "it speaks plain HTTP to a port with TLS"
    return str(error)
