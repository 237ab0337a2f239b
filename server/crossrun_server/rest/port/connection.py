"""A connection: uvicorn's, with the limits that it does not hold by itself."""

import asyncio
import json
from collections.abc import Mapping
from enum import Enum, auto
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from crossrun_server.fronts.handlers import Served
from crossrun_server.fronts.limits import NEVER, SECOND
from crossrun_server.rest.context import CLIENT_NAMES
from crossrun_server.rest.port.strangers import Strangers

MOST_HEAD = 64 << 10  # bytes of a request's line and headers, as the native front end has them
OVERHEAD = 4  # bytes of a header beside its name and its value
MOST_WAITING = 32  # requests that a connection has sent ahead
TOO_MANY_HEADERS = 431
TLS_HELLO = b"\x16\x03"  # with which TLS begins
HTTP_2 = b"PRI * HTTP/2"  # with which HTTP/2 begins, and so gRPC


class Waiting(Enum):
    """What a connection waits for."""

    ANSWER = auto()  # the server's
    REST = auto()  # of a request that has begun
    REQUEST = auto()  # the next


class Connection(HttpToolsProtocol):
    """Ends itself if its client is slow, sends too much ahead, or does not read.

    Args:
        config, server_state, app_state: uvicorn's.
        served: has the limits.
        strangers: is told of clients that speak something else.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        served: Served,
        strangers: Strangers,
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._served, self._limits, self._strangers = served, served.limits, strangers
        self._head = 0  # bytes of the head that is being read
        self._begun = self._spoken = False  # a request; the client at all
        self._status = 400  # of an answer to what is no request
        self._waiting = Waiting.REST
        self._timers = dict[str, asyncio.TimerHandle]()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request; the age of the connection begins."""
        super().connection_made(transport)
        self.app_state = {CLIENT_NAMES: _names(transport.get_extra_info("peercert"))}
        self._after("waiting", self._limits.handshake_timeout)
        if self._limits.connection_age < NEVER:
            self._timers["age"] = self.loop.call_later(
                self._limits.connection_age / SECOND, self.shutdown
            )

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks."""
        for name in list(self._timers):
            self._no_more(name)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, and see what is missing."""
        if not self._spoken:
            self._spoken = True
            self._look(data)
        super().data_received(data)
        self._wait()

    def pause_writing(self) -> None:
        """Give the client its time to read."""
        super().pause_writing()
        self._after("reading", self._limits.keepalive_timeout)

    def resume_writing(self) -> None:
        """Go on, since the client reads."""
        self._no_more("reading")
        super().resume_writing()

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._head, self._begun = 0, True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the URL."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer."""
        self._count(len(name) + len(value) + OVERHEAD)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Have a request answered, or wait for its turn."""
        if len(self.pipeline) >= MOST_WAITING:
            raise ValueError(f"more than {MOST_WAITING} requests are sent ahead")
        super().on_headers_complete()
        if self._served.draining.is_set() or self.parser.should_upgrade():
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        """End a request."""
        self._begun = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """See what is missing after an answer."""
        super().on_response_complete()
        self._wait()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words
        """Answer what is no request, in the words of all errors, and hang up."""
        text = {400: "this is no request of HTTP/1.1", TOO_MANY_HEADERS: _LONG}[self._status]
        body = json.dumps({"error": text}).encode()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[self._status] + head % len(body) + body)
        self.transport.close()

    def _look(self, data: bytes) -> None:
        """Tell of a client that has taken this port for another."""
        if data.startswith(TLS_HELLO):
            self._strangers.note(self.transport, "a client speaks TLS to the port of plain HTTP")
        elif data.startswith(HTTP_2):
            self._strangers.note(
                self.transport, "a client speaks HTTP/2, as gRPC does, to the port of HTTP/1.1"
            )

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > MOST_HEAD:
            self._status = TOO_MANY_HEADERS
            raise ValueError(_LONG)

    def _wait(self) -> None:
        """Give the client its time for what is waited for now, if that has changed."""
        waiting = self._what()
        if waiting == self._waiting or self.transport.is_closing():
            return
        self._waiting = waiting
        self._no_more("waiting")
        if waiting != Waiting.ANSWER:
            rest = waiting == Waiting.REST
            self._after(
                "waiting",
                self._limits.handshake_timeout if rest else self._limits.connection_idle,
            )

    def _what(self) -> Waiting:
        if self.cycle is not None and not self.cycle.response_complete:
            return Waiting.ANSWER  # who answers has an eye on the body
        return Waiting.REST if self._begun else Waiting.REQUEST

    def _after(self, name: str, milliseconds: int) -> None:
        """End the connection after so long."""
        self._no_more(name)
        self._timers[name] = self.loop.call_later(milliseconds / SECOND, self.transport.abort)

    def _no_more(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()


_LONG = f"the head of the request has more than {MOST_HEAD} bytes"


def _names(certificate: Mapping[str, Any] | None) -> dict[str, list[bytes]]:
    """Return the names in a client's certificate, as gRPC calls them."""
    if not certificate:
        return {}
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    return {
        "x509_common_name": [v.encode() for k, v in subject if k == "commonName"],
        "x509_subject_alternative_name": [
            v.encode() for _, v in certificate.get("subjectAltName", ())
        ],
    }
