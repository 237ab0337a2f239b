"""What a front end serves: the handlers of all services, by the paths of their methods."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import grpc

from crossrun_server.fronts.certificates import Certificates
from crossrun_server.fronts.limits import Limits
from crossrun_server.services.direct.call import Gated
from crossrun_server.telemetry.failures import Failures

Handler = Any  # grpc.RpcMethodHandler
Register = Callable[[Any], None]  # adds services to a server of grpc.aio, or to `Handlers`


@dataclass
class Load:
    """What a front end has at work; it puts functions of its own here once it is open."""

    bytes_in_flight: Callable[[], int] = lambda: 0
    connections: Callable[[], int | None] = lambda: None  # None: it does not know


@dataclass(frozen=True)
class Served:
    """The services behind a port, and what clients may ask of it."""

    register: Register
    interceptors: Sequence[grpc.aio.ServerInterceptor]
    direct: Mapping[str, Gated]  # what threads may answer, by path
    limits: Limits
    draining: asyncio.Event  # once it is set, there are to be no new connections
    failures: Failures  # where calls are noted that a front end refuses
    load: Load
    certificates: Certificates | None = None  # None: connections are plain


@dataclass
class Handlers:
    """Collects handlers instead of a server: the generated code adds services to it."""

    by_path: dict[str, Handler] = field(default_factory=dict)

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Take no handlers: they come by `add_registered_method_handlers` too."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Take the handlers of one service."""
        self.by_path |= {f"/{service}/{name}": handler for name, handler in handlers.items()}


class _Details(NamedTuple):
    """What an interceptor is told: the method alone, since its handler is for all calls."""

    method: str
    invocation_metadata: tuple[()] = ()


async def intercepted(served: Served) -> list[tuple[str, Handler]]:
    """Return the handlers with their paths, wrapped by all interceptors, the first outermost."""
    handlers = Handlers()
    served.register(handlers)
    return [(path, await _wrapped(served, path, one)) for path, one in handlers.by_path.items()]


async def _wrapped(served: Served, path: str, handler: Handler) -> Handler:
    for interceptor in reversed(served.interceptors):

        async def found(_: Any, handler: Handler = handler) -> Handler:
            return handler

        handler = await interceptor.intercept_service(found, _Details(path))  # type: ignore[arg-type]
    return handler
