"""Sockets on one port, at all addresses of a name."""

import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from crossrun_server.errors import ServingError

# Binds a socket to an address and a port.
Bind = Callable[[socket.socket, str, int], None]
BACKLOG = 1024


@contextmanager
def bound(host: str, port: int, bind: Bind) -> Iterator[list[socket.socket]]:
    """Bind a port at every address of a host that this machine has; close them at the end.

    Args:
        host: a name or an address; an IPv6 address may be in brackets.
        port: 0 picks one, the same for all addresses.
        bind: what to do with each socket.

    Raises:
        ServingError: the port cannot be bound.
    """
    with ExitStack() as stack:
        found: list[socket.socket] = []
        try:
            for family, address in _addresses(host):
                if one := _here(family, address, port, bind):
                    found.append(stack.enter_context(one))
                    port = one.getsockname()[1]
            if not found:
                raise OSError(errno.EADDRNOTAVAIL, "no address of it is this machine's")
        except OSError as error:
            raise ServingError(f"cannot listen on {host}:{port}: is the port in use?") from error
        yield found


def only_here(host: str) -> bool:
    """Whether all addresses of a host can be reached from this machine alone."""
    try:
        found = [address for _, address in _addresses(host)]
        return bool(found) and all(ipaddress.ip_address(one).is_loopback for one in found)
    except (OSError, ValueError):
        return False


def listen(one: socket.socket, address: str, port: int) -> None:
    """Bind a socket that has its port alone, and listen."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # old connections may linger
    one.bind((address, port))
    one.listen(BACKLOG)


def listen_together(one: socket.socket, address: str, port: int) -> None:
    """Bind a socket that shares its port with other processes of this user, and listen."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listen(one, address, port)


def _addresses(host: str) -> list[tuple[int, str]]:
    found = socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM)
    return list(dict.fromkeys((family, str(address[0])) for family, _, _, _, address in found))


def _here(family: int, address: str, port: int, bind: Bind) -> socket.socket | None:
    """Bind a socket; returns None for an address that this machine does not have, such as ::1."""
    one = None
    try:
        # asyncio sends small answers at once (TCP_NODELAY) if the protocol is named.
        one = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bind(one, address, port)
    except OSError as error:
        if one is not None:
            one.close()
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            return None  # gRPC ignores it too, and fails if no address is left
        raise
    return one
