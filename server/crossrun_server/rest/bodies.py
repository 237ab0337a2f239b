"""The bodies of requests: read whole, but within the limits of each and of all."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request

from crossrun_server.errors import DeadlineExceeded, InvalidRequest, TooMany
from crossrun_server.fronts.limits import SECOND, Limits
from crossrun_server.fronts.unpacking import unpacked
from crossrun_server.rest.context import HttpContext

PACKINGS = ("gzip", "deflate")
SHORT = 4096  # bytes that are unpacked at once; more are on a thread


class Bodies:
    """Counts the bytes of requests at work, by connection."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held: Counter[str] = Counter()

    def held(self) -> int:
        """Return the bytes of all requests at work."""
        return self._held.total()

    @contextmanager
    def account(self, context: HttpContext) -> Iterator[None]:
        """Forget what a request holds once the block ends."""
        try:
            yield
        finally:
            peer = context.peer()
            self._held[peer] -= context.held
            if not self._held[peer]:
                del self._held[peer]

    async def whole(self, request: Request, context: HttpContext, most: int) -> bytes:
        """Read a body, and unpack it if it is packed.

        Args:
            request: has the body.
            context: the call; its account is open.
            most: bytes that a body may have, packed and unpacked.

        Raises:
            TooMany: it is larger, or too many bytes are in flight.
            InvalidRequest: it cannot be unpacked.
            DeadlineExceeded: the client sends nothing more.
        """
        packing = request.headers.get("content-encoding", "identity").lower()
        if packing not in (*PACKINGS, "identity"):
            raise InvalidRequest(f"content-encoding is {packing!r}, expected {', '.join(PACKINGS)}")
        _check_announced(request, context, most)
        body = await self._read(request, context, most)
        if packing == "identity":
            return body
        whole = await _unpacked(body, most)
        if whole is body:
            raise InvalidRequest(f"the body is not {packing}, as content-encoding says")
        self._take(context, len(whole), most)
        return whole

    async def _read(self, request: Request, context: HttpContext, most: int) -> bytes:
        parts, stream = list[bytes](), request.stream()
        try:
            while part := await asyncio.wait_for(
                anext(stream), self._limits.handshake_timeout / SECOND
            ):
                self._take(context, len(part), most)
                parts.append(part)
        except StopAsyncIteration:
            pass
        except TimeoutError:
            raise DeadlineExceeded("the body of the request does not come") from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take(self, context: HttpContext, size: int, most: int) -> None:
        """Count bytes of a request; `account` forgets them."""
        peer, whole = context.peer(), self._limits.bytes_in_flight
        context.held += size
        self._held[peer] += size
        if context.held > most:
            _refuse(context, context.held, most)
        if self._held[peer] > whole // 2 or self._held.total() > whole:
            raise TooMany(
                "too many bytes of this connection or of all are in flight (--max-bytes-in-flight)"
            )


def _check_announced(request: Request, context: HttpContext, most: int) -> None:
    announced = int(request.headers.get("content-length", 0))
    if announced > most:
        _refuse(context, announced, most)


def _refuse(context: HttpContext, size: int, most: int) -> None:
    context.too_large = True
    raise TooMany(
        f"a body of {size} bytes or more is over the limit of {most} "
        "(--max-request-size, if the request has tensors, pictures or models)"
    )


async def _unpacked(body: bytes, most: int) -> bytes:
    if len(body) <= SHORT:
        return unpacked(body, most)
    return await asyncio.to_thread(unpacked, body, most)
