"""The front end of grpc.aio, which runs wherever gRPC's Python does."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from crossrun_server.errors import ServingError
from crossrun_server.fronts.admission import Admission
from crossrun_server.fronts.handlers import Served
from crossrun_server.fronts.limits import Limits

VERSION = f"grpcio {grpc.__version__}"
NO_LIMIT = -1


@asynccontextmanager
async def serving(
    served: Served, host: str, port: int, *, shared_port: bool, last_words: float
) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port. The arguments are those of every front end.

    Args:
        served: the services and their limits.
        host: a name or an address; an IPv6 address is in brackets.
        port: 0 picks one.
        shared_port: whether other processes listen there too; otherwise a port in use is an error.
        last_words: seconds that open calls have when the block ends.

    Raises:
        ServingError: the port cannot be bound.
    """
    options = (*_options(served.limits), ("grpc.so_reuseport", int(shared_port)))
    admission = Admission(served.limits, served.failures)
    served.load.bytes_in_flight = admission.held
    interceptors = (admission, *served.interceptors)
    server = grpc.aio.server(interceptors=interceptors, options=options)
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


def _options(limits: Limits) -> tuple[tuple[str, int], ...]:
    return (
        ("grpc.max_receive_message_length", limits.request_size),
        ("grpc.max_send_message_length", NO_LIMIT),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.max_concurrent_streams", limits.streams),
        ("grpc.server_handshake_timeout_ms", limits.handshake_timeout),
        ("grpc.max_connection_idle_ms", limits.connection_idle),
        ("grpc.max_connection_age_ms", limits.connection_age),
        ("grpc.max_connection_age_grace_ms", limits.connection_age_grace),
        ("grpc.keepalive_time_ms", limits.keepalive_time),
        ("grpc.keepalive_timeout_ms", limits.keepalive_timeout),
        ("grpc.http2.min_ping_interval_without_data_ms", limits.min_ping_interval),
        ("grpc.http2.max_ping_strikes", limits.max_ping_strikes),
    )
