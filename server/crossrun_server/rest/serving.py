"""The HTTP port: uvicorn on the server's event loop."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from crossrun_server.access.gate import Gate
from crossrun_server.fronts import sockets
from crossrun_server.fronts.certificates import Certificates
from crossrun_server.fronts.handlers import Served, intercepted
from crossrun_server.rest import application, connection
from crossrun_server.rest.bodies import Bodies
from crossrun_server.rest.calls import Calls

logging.getLogger("uvicorn").setLevel(
    logging.CRITICAL
)  # what it says of clients, anybody can cause


class _Server(uvicorn.Server):
    """Leaves signals to the process that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(  # noqa: PLR0913 - those of every front end, and the gate
    served: Served, gate: Gate, host: str, port: int, *, shared_port: bool, last_words: float
) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port. See `grpc_front.serving`.

    Args:
        served: its handlers are given what makes a message, instead of bytes.
        gate: lets requests in before their bodies are read.
        host, port, shared_port, last_words: see there.

    Raises:
        ServingError: the port cannot be bound.
    """
    handlers, bodies = dict(await intercepted(served)), Bodies(served.limits)
    app = application.application(Calls(handlers, gate, served.limits, bodies))
    bind = sockets.listen_together if shared_port else sockets.listen
    with sockets.bound(host, port, bind) as ours:
        server = _Server(_config(app, served, last_words))
        number: int = ours[0].getsockname()[1]
        task = asyncio.create_task(server.serve(ours))
        try:
            yield number
        finally:
            server.should_exit = True
            await task


def _config(app: Any, served: Served, last_words: float) -> uvicorn.Config:
    config = uvicorn.Config(
        app,
        http=connection.limited(served.limits),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=served.limits.connection_idle // 1000,
        timeout_graceful_shutdown=max(1, round(last_words)),
    )
    config.load()
    config.ssl = _renewing(served.certificates) if served.certificates else None
    return config


def _renewing(certificates: Certificates) -> ssl.SSLContext:
    """Return a context whose handshakes are those of the certificates of the time."""
    context = certificates.current().context

    def current(handshake: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        handshake.context = certificates.current().context

    context.sni_callback = current
    return context
