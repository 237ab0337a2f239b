"""Tells of clients that cannot come in: those who speak something else, or are not trusted."""

import asyncio

from crossrun_server.rest.context import address_of
from crossrun_server.telemetry.failures import TRANSPORT, CallInfo, Failure, Failures

UNKNOWN = Failure("unknown", "UNAVAILABLE", TRANSPORT)


class Strangers:
    """Counts them with the calls that fail; the log has room for some of them."""

    def __init__(self, failures: Failures) -> None:
        self._failures = failures

    def note(self, transport: asyncio.BaseTransport, what: str) -> None:
        """Tell of a client."""
        peer = transport.get_extra_info("peername")
        self._failures.note(UNKNOWN, what, lambda: CallInfo(address_of(*peer[:2]) if peer else ""))
