"""A connection: uvicorn's, with the limits that it does not hold by itself."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from crossrun_server.fronts.limits import SECOND, Limits
from crossrun_server.rest.context import CLIENT_NAMES

MOST_HEAD = 64 << 10  # bytes of a request's line and headers, as the native front end has them

log = logging.getLogger(__name__)


def limited(limits: Limits) -> type[asyncio.Protocol]:
    """Return the class of connections that keep to limits."""

    class Connection(HttpToolsProtocol):
        """Ends itself if it is one too many, or if a request's head is long or slow."""

        def __init__(self, config: Config, server_state: ServerState, *rest: Any, **more: Any):
            super().__init__(config, server_state, *rest, **more)
            self._head = 0  # bytes of the head that is being read
            self._slow: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.app_state = {CLIENT_NAMES: _names(transport.get_extra_info("peercert"))}
            if len(self.connections) > limits.connections:
                transport.abort()
                return
            self._wait_for_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head_is_there()
            super().connection_lost(exc)

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._head = 0
            if self._slow is None:
                self._wait_for_head()

        def on_url(self, url: bytes) -> None:
            self._count(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._count(len(name) + len(value))
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._head_is_there()
            super().on_headers_complete()

        def _count(self, size: int) -> None:
            self._head += size
            if self._head > MOST_HEAD:
                raise ValueError("the head of the request is too long")  # which is answered by 400

        def _wait_for_head(self) -> None:
            seconds = limits.handshake_timeout / SECOND
            self._slow = self.loop.call_later(seconds, self.transport.abort)

        def _head_is_there(self) -> None:
            if self._slow:
                self._slow.cancel()
                self._slow = None

    return Connection


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
