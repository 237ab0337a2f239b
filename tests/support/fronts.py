"""A front end in this process, with services of a test's own."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from crossrun_server.fronts import choice
from crossrun_server.fronts.choice import FrontName
from crossrun_server.fronts.handlers import Served

T = TypeVar("T")


def asked(front: str, served: Served, ask: Callable[[int], T]) -> T:
    """Serve on a free port while `ask` runs on a thread; it is told the port."""

    async def serve() -> T:
        serving = choice.chosen(FrontName(front)).serving
        async with serving(served, "127.0.0.1", 0, shared_port=False, last_words=1.0) as port:
            return await asyncio.to_thread(ask, port)

    return asyncio.run(serve())
