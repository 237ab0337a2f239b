"""The front end of grpc.aio, which runs wherever gRPC's Python does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from crossrun_server.errors import ServingError
from crossrun_server.fronts.handlers import Served

VERSION = f"grpcio {grpc.__version__}"
NO_LIMIT = -1
OPTIONS = (
    # A batch of pictures is far over gRPC's 4 MB.
    ("grpc.max_receive_message_length", NO_LIMIT),
    ("grpc.max_send_message_length", NO_LIMIT),
)


@asynccontextmanager
async def serving(
    served: Served, host: str, port: int, *, shared_port: bool, last_words: float
) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port. The arguments are those of every front end.

    Args:
        served: the services.
        host: a name or an address; an IPv6 address is in brackets.
        port: 0 picks one.
        shared_port: whether other processes listen there too; otherwise a port in use is an error.
        last_words: seconds that open calls have when the block ends.

    Raises:
        ServingError: the port cannot be bound.
    """
    options = (*OPTIONS, ("grpc.so_reuseport", int(shared_port)))
    server = grpc.aio.server(interceptors=served.interceptors, options=options)
    served.register(server)
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise ServingError(f"cannot listen on {host}:{port}: is the port in use?") from error
    await server.start()
    try:
        yield bound
    finally:
        await server.stop(last_words)
