"""The limits that grpc.aio does not hold by itself: messages by method, and bytes in flight.

grpc.aio has read a request when it gets here, but not unpacked it. The native front end refuses
before that.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from time import monotonic
from typing import Any

import grpc
from grpc import StatusCode

from crossrun_server.errors import TooMany
from crossrun_server.fronts.handlers import Handler
from crossrun_server.fronts.limits import Limits
from crossrun_server.fronts.unpacking import Unpacker
from crossrun_server.services.edge import Context, info_of
from crossrun_server.telemetry.failures import LATE, LIMIT, Failure, Failures


class Admission(grpc.aio.ServerInterceptor):
    """Unpacks messages, and refuses what is over a limit; the handlers behind it take bytes."""

    def __init__(self, limits: Limits, failures: Failures) -> None:
        self._limits = limits
        self._failures = failures
        self._unpacker = Unpacker()
        self._held: Counter[str] = Counter()  # bytes of requests at work, by connection
        self._open: set[Context] = set()  # calls whose answers are not on their way yet

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler that gRPC found for a call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method, how = handler_call_details.method, {}
        how["response_serializer"] = handler.response_serializer
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(self._admitted(handler, method), **how)
        most = self._limits.message_size(method)
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(self._telling(handler, most), **how)
        return grpc.stream_stream_rpc_method_handler(self._talking(handler, most), **how)

    def held(self) -> int:
        """Return the bytes of all requests at work."""
        return self._held.total()

    async def answered(self, seconds: float) -> None:
        """Wait until the unary calls of now have their answers, or so many seconds have passed."""
        left, end = set(self._open), monotonic() + seconds
        while left & self._open and monotonic() < end:
            await asyncio.sleep(0.01)

    def _admitted(self, handler: Handler, method: str) -> Callable[..., Awaitable[Any]]:
        most = self._limits.message_size(method)

        async def call(message: bytes, context: Context) -> Any:
            self._open.add(context)
            over: Any = self._open.discard
            context.add_done_callback(over)
            message = await self._unpacker.whole(message, most)
            size, peer = len(message), context.peer()
            if refusal := self._refusal(size, most, peer):
                self._note(method, StatusCode.RESOURCE_EXHAUSTED, LIMIT, refusal, context)
                await context.abort(StatusCode.RESOURCE_EXHAUSTED, refusal)
            self._held[peer] += size
            try:
                return await handler.unary_unary(message, context)
            except asyncio.CancelledError:
                if context.time_remaining() == 0:  # gRPC has ended the call
                    late = StatusCode.DEADLINE_EXCEEDED
                    self._note(method, late, LATE, "the deadline has passed", context)
                raise
            finally:
                self._held[peer] -= size
                if not self._held[peer]:
                    del self._held[peer]

        return call

    def _telling(self, handler: Handler, most: int) -> Callable[..., AsyncIterator[Any]]:
        """Wrap a method of one message and many answers."""

        async def call(message: bytes, context: Context) -> AsyncIterator[Any]:
            whole = await self._unpacker.whole(message, most)
            if len(whole) > most:
                await context.abort(StatusCode.RESOURCE_EXHAUSTED, _too_long(len(whole), most))
            async for answer in handler.unary_stream(whole, context):
                yield answer

        return call

    def _talking(self, handler: Handler, most: int) -> Callable[..., Any]:
        """Wrap a method of many messages, which returns its answers or writes them itself."""
        behaviour = handler.stream_stream

        async def write(messages: AsyncIterator[bytes], context: Context) -> None:
            await behaviour(self._wholes(messages, most), context)

        async def answers(messages: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            async for answer in behaviour(self._wholes(messages, most), context):
                yield answer

        return write if inspect.iscoroutinefunction(behaviour) else answers

    async def _wholes(self, messages: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
        async for message in messages:
            whole = await self._unpacker.whole(message, most)
            if len(whole) > most:
                raise TooMany(_too_long(len(whole), most))
            yield whole

    def _note(
        self, method: str, code: StatusCode, reason: str, details: str, context: Context
    ) -> None:
        failure = Failure(method.removeprefix("/"), code.name, reason)
        self._failures.note(failure, details, lambda: info_of(context))

    def _refusal(self, size: int, most: int, peer: str) -> str:
        """Return why a request is refused; nothing if it is not."""
        whole = self._limits.bytes_in_flight
        if size > most:
            return _too_long(size, most)
        if self._held[peer] + size > whole // 2 or self._held.total() + size > whole:
            return (
                "too many bytes of this connection or of all are in flight (--max-bytes-in-flight)"
            )
        return ""


def _too_long(size: int, most: int) -> str:
    return (
        f"a message of {size} bytes or more is over this method's limit of {most} "
        "(--max-request-size, if the method takes tensors, pictures or models)"
    )
