"""Reserves a port for processes that listen on it together. Does not listen itself."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from crossrun_server.errors import ServingError
from crossrun_server.fronts import sockets


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
    with sockets.bound(host, port, _hold) as held:
        yield held[0].getsockname()[1]


def _hold(held: socket.socket, address: str, port: int) -> None:
    """Take the port alone, which fails if somebody has it, and only then share it.

    SO_REUSEADDR allows this while connections of an ended server linger. If it stayed on, a
    second server could reserve the same port.
    """
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((address, port))
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
