"""The HTTP port: uvicorn on the server's event loop."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from crossrun_server.access.gate import Gate
from crossrun_server.fronts import sockets
from crossrun_server.fronts.handlers import Load, Served, intercepted
from crossrun_server.fronts.limits import SECOND
from crossrun_server.models.repository import Repository
from crossrun_server.rest import application
from crossrun_server.rest.bodies import Bodies
from crossrun_server.rest.calls import Calls
from crossrun_server.rest.port.door import Doors
from crossrun_server.rest.port.origins import Origins
from crossrun_server.scheduling.in_flight import InFlight

logging.getLogger("uvicorn").setLevel(
    logging.CRITICAL
)  # what it says of clients, anybody can cause


@dataclass(frozen=True)
class Inner:
    """What calls need of the server.

    Args:
        gate: lets requests in before their bodies are read.
        models: knows what models take.
        in_flight: counts requests; the stop waits for them.
        cors: the origins of pages that may ask.
        page: the port of gRPC, which the page names; None: there is no page.
    """

    gate: Gate
    models: Repository
    in_flight: InFlight
    cors: tuple[str, ...]
    page: int | None


class _Server(uvicorn.Server):
    """Leaves signals to the process that it is a part of."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving(  # noqa: PLR0913 - those of every front end, and what is inside
    served: Served, inner: Inner, host: str, port: int, *, shared_port: bool, last_words: float
) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port. See `grpc_front.serving`.

    Args:
        served: its handlers are given what makes a message, instead of bytes.
        inner: what calls need of the server.
        host, port, shared_port, last_words: see there.

    Raises:
        ServingError: the port cannot be bound.
    """
    bodies = Bodies(served.limits, served.load.bytes_in_flight)
    calls = Calls(
        handlers=dict(await intercepted(served)),
        gate=inner.gate,
        limits=served.limits,
        bodies=bodies,
        models=inner.models,
        failures=served.failures,
        in_flight=inner.in_flight,
    )
    app = application.application(
        calls, Origins(host, inner.cors, asks=inner.gate.asks), inner.page
    )
    bind = sockets.listen_together if shared_port else sockets.listen
    with sockets.bound(host, port, bind) as ours:
        server = _Server(_config(app, served, last_words))
        _count(served.load, bodies, server)
        number: int = ours[0].getsockname()[1]
        task = asyncio.create_task(server.serve(ours))
        try:
            yield number
        finally:
            server.should_exit = True
            await task


def _config(app: Any, served: Served, last_words: float) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=Doors(served),  # type: ignore[arg-type]  # as good as a class
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=served.limits.connection_idle // SECOND,
        timeout_graceful_shutdown=max(1, round(last_words)),
    )


def _count(load: Load, bodies: Bodies, server: uvicorn.Server) -> None:
    """Add what is at work here to what gRPC's front end has."""
    its_bytes, its_connections = load.bytes_in_flight, load.connections

    def connections() -> int | None:
        known = its_connections()
        return None if known is None else known + len(server.server_state.connections)

    load.bytes_in_flight = lambda: its_bytes() + bodies.held()
    load.connections = connections
