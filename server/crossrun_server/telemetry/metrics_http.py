"""HTTP at the metrics port: metrics at one path, and errors at all others.

prometheus_client answers every path with the metrics, so a client that asked this port for the
server's health would believe it ready. And its own server starts a thread for whoever connects.
"""

import logging
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from socketserver import ThreadingMixIn
from threading import Semaphore
from typing import Any, NamedTuple
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from crossrun_server.errors import Forbidden, Unauthenticated
from crossrun_server.scheduling.alarms import ALARMS

log = logging.getLogger(__name__)

PATH = "/metrics"
METHODS = ("GET", "HEAD")
THREADS = 8  # scrapes at once
LONGEST = 10.0  # seconds from a client's connection to its end
BUSY = b"HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"

# A WSGI application: environment, start_response → body.
App = Callable[[dict[str, Any], Any], Iterable[bytes]]
# Returns what connections are opened with now.
Secure = Callable[[], ssl.SSLContext]
# Takes the header `Authorization`; raises Unauthenticated or Forbidden.
Admit = Callable[[str], None]


class Entrance(NamedTuple):
    """Who may scrape, and how."""

    admit: Admit  # lets a scrape in
    secure: Secure | None = None  # None: connections are plain


class MetricsServer(ThreadingMixIn, WSGIServer):
    """Answers each client on a thread of its own, if there is room for one.

    Args:
        host: the address to listen on.
        port: 0 picks one.
        app: answers.
        secure: for TLS; None: connections are plain.

    Raises:
        OSError: the port cannot be bound.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int, app: App, secure: Secure | None = None) -> None:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, *_, address = found[0]
        self._room = Semaphore(THREADS)
        self._secure = secure
        super().__init__(address[:2], _Quiet)  # type: ignore[arg-type]
        self.set_app(app)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a client on a thread, or refuse it at once."""
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
            return
        if not self._secure:
            with suppress(OSError):
                request.sendall(BUSY)
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a client, and leave it once it takes too long."""
        end = ALARMS.at(time.monotonic() + LONGEST, lambda: _shut(request))
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._room.release()

    def get_request(self) -> tuple[Any, Any]:
        """Take a connection; what is read first of it is TLS, if that is wanted."""
        request, address = super().get_request()
        if self._secure:
            # Without a handshake here, where other clients would wait for it.
            request = self._secure().wrap_socket(
                request, server_side=True, do_handshake_on_connect=False
            )
        return request, address

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - its base's
        """Log what ended a connection; most often the client did."""
        log.debug("a scrape of the metrics by %s failed: %s", client_address, sys.exc_info()[1])


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Log no request."""


def _shut(request: socket.socket) -> None:
    with suppress(OSError):  # it has ended by itself
        # The socket's own, also under TLS, where the thread that answers has the session.
        socket.socket.shutdown(request, socket.SHUT_RDWR)


def at_one_path(metrics: App) -> App:
    """Wrap `metrics` so that it only answers GET and HEAD of /metrics; all else is 404 or 405."""

    def answered(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        path, method = environ.get("PATH_INFO", ""), environ["REQUEST_METHOD"]
        if path != PATH:
            return _refused(start, "404 Not Found", f"{path} is nothing here; {PATH} has metrics")
        if method not in METHODS:
            allow = ("Allow", ", ".join(METHODS))
            return _refused(start, "405 Method Not Allowed", f"{PATH} takes {allow[1]}", allow)
        return metrics(environ | {"REQUEST_METHOD": "GET"}, start)

    return _bodiless_for_head(answered)


def admitting(admit: Admit, app: App) -> App:
    """Wrap `app` so that it answers only those whom `admit` lets in; all else is 401 or 403."""

    def answered(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        try:
            admit(environ.get("HTTP_AUTHORIZATION", ""))
        except Unauthenticated as error:
            asked = ("WWW-Authenticate", "Bearer")
            return _refused(start, "401 Unauthorized", str(error), asked)
        except Forbidden as error:
            return _refused(start, "403 Forbidden", str(error))
        return app(environ, start)

    return answered


def _refused(start: Any, status: str, text: str, *headers: tuple[str, str]) -> Iterable[bytes]:
    start(status, [("Content-Type", "text/plain; charset=utf-8"), *headers])
    return [f"{text}\n".encode()]


def _bodiless_for_head(app: App) -> App:
    """Wrap an application so that HEAD gets the length of the body, but no body."""

    def answered(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "HEAD":
            return app(environ, start)
        given: list[Any] = []
        size = sum(map(len, app(environ, lambda *answer: given.extend(answer))))
        status, headers = given[:2]
        start(status, [*headers, ("Content-Length", str(size))])
        return []

    return answered
