"""The native front end: Rust does HTTP/2 and gRPC, the handlers of the services answer.

Calls come by two roads. Those that run a model are taken by threads, which run it themselves. All
else is answered on the event loop, as with grpc.aio.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import crossrun_front

from crossrun_server.fronts import sockets
from crossrun_server.fronts.handlers import Served, intercepted
from crossrun_server.fronts.native_calls import Calls
from crossrun_server.fronts.native_threads import Threads


@asynccontextmanager
async def serving(
    served: Served, host: str, port: int, *, shared_port: bool, last_words: float
) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port. See `grpc_front.serving`."""
    handlers, limits = await intercepted(served), served.limits
    methods = [
        (path, one.request_streaming, path in served.direct, limits.message_size(path))
        for path, one in handlers
    ]
    with sockets.bound(
        host, port, sockets.listen_together if shared_port else sockets.listen
    ) as ours:
        number: int = ours[0].getsockname()[1]
        front = crossrun_front.Front([one.detach() for one in ours], methods, limits)
    served.load.bytes_in_flight = lambda: front.bytes_in_flight
    served.load.connections = lambda: front.connections
    calls = Calls(front, handlers, served.failures)
    threads = Threads(front, [served.direct.get(path) for path, _ in handlers], calls)
    loop = asyncio.get_running_loop()
    loop.add_reader(front.fileno(), calls.follow)
    threads.start()
    try:
        yield number
    finally:
        await asyncio.to_thread(front.stop, last_words)
        loop.remove_reader(front.fileno())
        await calls.cancel()
        await asyncio.to_thread(threads.join, last_words)
