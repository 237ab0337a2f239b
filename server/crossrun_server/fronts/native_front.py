"""The native front end: Rust does HTTP/2 and gRPC, the handlers of the services answer.

Calls come by two roads. Those that run a model are taken by threads, which run it themselves. All
else is answered on the event loop, as with grpc.aio.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import crossrun_front

from crossrun_server.fronts import certificates, sockets
from crossrun_server.fronts.certificates import Certificates, Pem
from crossrun_server.fronts.handlers import Served, intercepted
from crossrun_server.fronts.native_calls import Calls
from crossrun_server.fronts.native_threads import Threads


@asynccontextmanager
async def serving(
    served: Served, host: str, port: int, *, shared_port: bool, last_words: float
) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port. See `grpc_front.serving`."""
    handlers, limits = await intercepted(served), served.limits
    tls = served.certificates.current().form if served.certificates else None
    methods = [
        (path, one.request_streaming, path in served.direct, limits.message_size(path))
        for path, one in handlers
    ]
    with sockets.bound(
        host, port, sockets.listen_together if shared_port else sockets.listen
    ) as ours:
        number: int = ours[0].getsockname()[1]
        front = crossrun_front.Front([one.detach() for one in ours], methods, limits, tls)
    served.load.bytes_in_flight = lambda: front.bytes_in_flight
    served.load.connections = lambda: front.connections
    calls = Calls(front, handlers, served.failures)
    threads = Threads(front, [served.direct.get(path) for path, _ in handlers], calls)
    loop = asyncio.get_running_loop()
    loop.add_reader(front.fileno(), calls.follow)
    threads.start()
    following = (_renew(front, served.certificates), _close(front, served.draining))
    tasks = [loop.create_task(one) for one in following]
    try:
        yield number
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.to_thread(front.stop, last_words)
        loop.remove_reader(front.fileno())
        await calls.cancel()
        await asyncio.to_thread(threads.join, last_words)


def secure(pem: Pem) -> crossrun_front.Tls:
    """Return certificates as the front takes them.

    Raises:
        ValueError: it cannot use them.
    """
    return crossrun_front.Tls(pem.certificate, pem.key, pem.roots)


async def _renew(front: crossrun_front.Front, shown: Certificates | None) -> None:
    """Give the front what is shown now, again and again; it has no look at files itself."""
    while shown:
        await asyncio.sleep(certificates.INTERVAL)
        front.renew((await asyncio.to_thread(shown.current)).form)


async def _close(front: crossrun_front.Front, draining: asyncio.Event) -> None:
    await draining.wait()
    front.close()
