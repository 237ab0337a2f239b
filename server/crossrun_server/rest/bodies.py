"""The bodies of requests: read whole, but within the limits of each and of all."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from starlette.requests import Request

from crossrun_server.errors import DeadlineExceeded, InvalidRequest, TooMany
from crossrun_server.fronts.limits import SECOND, Limits
from crossrun_server.fronts.unpacking import Unpacker
from crossrun_server.rest.context import HttpContext

PACKINGS = ("gzip", "deflate")
LEAST_RATE = 500  # bytes in a second, from the end of the time that every body has
LARGE = 1 << 20  # bytes
TOO_LARGE, TOO_SLOW = 413, 408


class Bodies:
    """Counts the bytes of requests and answers at work, by connection.

    Args:
        limits: of a body, of all, and of the time in which one has to come.
        others: returns the bytes that gRPC has in flight.
    """

    def __init__(self, limits: Limits, others: Callable[[], int]) -> None:
        self._limits = limits
        self._others = others
        self._unpacker = Unpacker()
        self._held: Counter[str] = Counter()

    def held(self) -> int:
        """Return the bytes of all that is at work."""
        return self._held.total()

    @contextmanager
    def account(self, context: HttpContext) -> Iterator[None]:
        """Forget what a request and its answer hold once the block ends."""
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
        whole = await self._unpacker.whole(body, most)
        if whole is body:
            raise InvalidRequest(f"the body is not {packing}, as content-encoding says")
        if len(whole) > most:
            _refuse(context, len(whole), most)
        self.hold(context, len(whole))
        self._check_budget(context)
        return whole

    def hold(self, context: HttpContext, size: int) -> None:
        """Count bytes of a request or of its answer; `account` forgets them."""
        context.held += size
        self._held[context.peer()] += size

    async def _read(self, request: Request, context: HttpContext, most: int) -> bytes:
        """Read a body as it comes.

        Raises:
            ServingError: see `whole`.
        """
        parts, begun = list[bytes](), monotonic()
        try:
            async with asyncio.timeout_at(self._end(context, begun)) as limit:
                async for part in request.stream():
                    self._take(context, len(part), most)
                    parts.append(part)
                    limit.reschedule(self._end(context, begun))
        except TimeoutError:
            if context.time_remaining() != 0:
                context.status = TOO_SLOW
            raise DeadlineExceeded("the body of the request has not come in time") from None
        context.whole = True
        if len(parts) == 1:
            return parts[0]
        # Of a large body this lets others go on meanwhile, on a thread.
        return b"".join(parts) if context.held < LARGE else await asyncio.to_thread(b"".join, parts)

    def _take(self, context: HttpContext, size: int, most: int) -> None:
        self.hold(context, size)
        if context.held > most:
            _refuse(context, context.held, most)
        self._check_budget(context)

    def _end(self, context: HttpContext, begun: float) -> float:
        """Return until when the rest of a body has to come, in seconds of the monotonic clock."""
        end = begun + self._limits.handshake_timeout / SECOND + context.held / LEAST_RATE
        remaining = context.time_remaining()
        return end if remaining is None else min(end, monotonic() + remaining)

    def _check_budget(self, context: HttpContext) -> None:
        whole, own = self._limits.bytes_in_flight, self._held[context.peer()]
        if own > whole // 2 or self._held.total() + self._others() > whole:
            raise TooMany(
                "too many bytes of this connection or of all are in flight (--max-bytes-in-flight)"
            )


def _check_announced(request: Request, context: HttpContext, most: int) -> None:
    announced = int(request.headers.get("content-length", 0))
    if announced > most:
        _refuse(context, announced, most)


def _refuse(context: HttpContext, size: int, most: int) -> None:
    context.status = TOO_LARGE
    raise TooMany(
        f"a body of {size} bytes or more is over the limit of {most} "
        "(--max-request-size, if the request has tensors, pictures or models)"
    )
