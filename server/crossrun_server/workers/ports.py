"""Reserves a port for processes that listen on it together. Does not listen itself."""

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from crossrun_server.errors import ServingError


@contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """Keep a port for sockets of this user that set SO_REUSEPORT; yields its number.

    The socket here never listens, so it gets no connections; it keeps others from the port while
    no worker listens.

    Args:
        host: a name or an address; an IPv6 address may be in brackets.
        port: 0 picks a free port.

    Raises:
        ServingError: the port is in use, even if its user would share it.
    """
    if not sys.platform.startswith("linux"):
        raise ServingError("--workers needs Linux, which spreads connections over processes")
    with ExitStack() as stack:
        try:
            for family, address in _addresses(host):
                if held := _hold(family, address, port):
                    port = stack.enter_context(held).getsockname()[1]
        except OSError as error:
            raise ServingError(f"cannot listen on {host}:{port}: is the port in use?") from error
        yield port


def _addresses(host: str) -> list[tuple[int, str]]:
    found = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _hold(family: int, address: str, port: int) -> socket.socket | None:
    """Bind a socket; returns None for an address that this machine does not have, such as ::1."""
    held = None
    try:
        held = socket.socket(family, socket.SOCK_STREAM)
        _bind(held, address, port)
    except OSError as error:
        if held is not None:
            held.close()
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None  # gRPC ignores it too, and fails if no address is left
        raise
    return held


def _bind(held: socket.socket, address: str, port: int) -> None:
    """Take the port alone, which fails if somebody has it, and only then share it.

    SO_REUSEADDR allows this while connections of an ended server linger. If it stayed on, a
    second server could reserve the same port.
    """
    if held.family == socket.AF_INET6:
        held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((address, port))
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
