"""The front end of grpc.aio, which runs wherever gRPC's Python does."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import grpc

from crossrun_server.errors import ServingError
from crossrun_server.fronts.admission import Admission
from crossrun_server.fronts.certificates import Certificates, Pem
from crossrun_server.fronts.handlers import Served
from crossrun_server.fronts.limits import Limits
from crossrun_server.fronts.unpacking import LEFT_ALONE

VERSION = f"grpcio {grpc.__version__}"
NO_LIMIT = -1
NEVER = 2**31 - 1
LAST_NEWS = 0.2  # seconds in which streams such as Watch hear of the end
OPEN_FILES = Path("/dev/fd")  # of this process, by number


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
        bound = _open(server, f"{host}:{port}", served.certificates)
    except RuntimeError as error:
        raise ServingError(f"cannot listen on {host}:{port}: is the port in use?") from error
    await server.start()
    try:
        yield bound
    finally:
        await asyncio.gather(admission.answered(last_words), asyncio.sleep(LAST_NEWS))
        _hang_up(bound)
        await server.stop(None)


def _hang_up(port: int) -> None:
    """Close a port and its connections as the end of the process would, which is UNAVAILABLE.

    gRPC answers what comes during its own stop with CANCELLED, which no client tries again:
    https://github.com/grpc/grpc/issues/41785. The port goes first, or who has lost a connection
    makes another; gRPC logs that it accepts no more.
    """
    for listens in (True, False):
        for file in OPEN_FILES.iterdir() if OPEN_FILES.exists() else ():
            with suppress(OSError):  # it is no socket
                _shut(int(file.name), port, listens=listens)


def _shut(file: int, port: int, *, listens: bool) -> None:
    """Shut a socket of a port, one that listens or one that is connected."""
    one = socket.socket(fileno=file)
    try:
        is_listening = bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
        if one.getsockname()[1:2] == (port,) and is_listening == listens:
            one.shutdown(socket.SHUT_RDWR)
    finally:
        one.detach()


def secure(pem: Pem) -> grpc.ServerCertificateConfiguration:
    """Return certificates as gRPC takes them."""
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.roots)


def _open(server: grpc.aio.Server, address: str, certificates: Certificates | None) -> int:
    """Open a port and return its number."""
    if certificates is None:
        return server.add_insecure_port(address)
    credentials = grpc.dynamic_ssl_server_credentials(
        certificates.current().form,
        _renewed(certificates),  # type: ignore[arg-type]  # None is allowed, and means no change
        require_client_authentication=certificates.files.roots is not None,
    )
    return server.add_secure_port(address, credentials)


def _renewed(
    certificates: Certificates,
) -> Callable[[], grpc.ServerCertificateConfiguration | None]:
    """Return what gRPC calls at each handshake: new certificates, or None if they are the same."""
    last = certificates.current()

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal last
        before, last = last, certificates.current()
        return None if last is before else last.form

    return renewed


def _options(limits: Limits) -> tuple[tuple[str, int], ...]:
    return (
        ("grpc.max_receive_message_length", limits.request_size),
        LEFT_ALONE,
        ("grpc.max_send_message_length", NO_LIMIT),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.max_concurrent_streams", limits.streams),
        # gRPC would answer calls that wait for the event loop with CANCELLED.
        ("grpc.server.max_pending_requests", NEVER),
        ("grpc.server.max_pending_requests_hard_limit", NEVER),
        ("grpc.server_max_unrequested_time_in_server", NEVER),
        ("grpc.server_handshake_timeout_ms", limits.handshake_timeout),
        ("grpc.max_connection_idle_ms", limits.connection_idle),
        ("grpc.max_connection_age_ms", limits.connection_age),
        ("grpc.max_connection_age_grace_ms", limits.connection_age_grace),
        ("grpc.keepalive_time_ms", limits.keepalive_time),
        ("grpc.keepalive_timeout_ms", limits.keepalive_timeout),
        ("grpc.http2.min_ping_interval_without_data_ms", limits.min_ping_interval),
        ("grpc.http2.max_ping_strikes", limits.max_ping_strikes),
    )
