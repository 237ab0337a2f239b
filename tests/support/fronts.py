"""A front end in this process, with services of a test's own."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from crossrun_server.fronts import choice
from crossrun_server.fronts.certificates import Certificates
from crossrun_server.fronts.choice import FrontName
from crossrun_server.fronts.handlers import Load, Register, Served
from crossrun_server.fronts.limits import Limits
from crossrun_server.telemetry.failures import Failures

T = TypeVar("T")


def served(
    register: Register = lambda _: None,
    direct: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    certificates: Certificates | None = None,
) -> Served:
    """What a front end serves, without a gate; to be called where an event loop is not needed."""
    return Served(
        register=register,
        interceptors=(),
        direct=direct or {},
        limits=limits or Limits(),
        draining=asyncio.Event(),
        failures=Failures(),
        load=Load(),
        certificates=certificates,
    )


def asked(front: str, served: Served, ask: Callable[[int], T]) -> T:
    """Serve on a free port while `ask` runs on a thread; it is told the port."""

    async def serve() -> T:
        serving = choice.chosen(FrontName(front)).serving
        async with serving(served, "127.0.0.1", 0, shared_port=False, last_words=1.0) as port:
            return await asyncio.to_thread(ask, port)

    return asyncio.run(serve())
