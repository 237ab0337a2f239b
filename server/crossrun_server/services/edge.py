"""Turns errors into status codes, and counts the calls in flight, for every service.

Nothing else in the server decides about a status code.
"""

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import StatusCode

from crossrun_server import errors
from crossrun_server.scheduling.in_flight import InFlight
from crossrun_server.services import wire

log = logging.getLogger(__name__)

STATUS = {
    errors.InvalidRequest: StatusCode.INVALID_ARGUMENT,
    errors.NotSupported: StatusCode.UNIMPLEMENTED,
    errors.UnknownModel: StatusCode.NOT_FOUND,
    errors.ModelUnavailable: StatusCode.UNAVAILABLE,
    errors.QueueFull: StatusCode.RESOURCE_EXHAUSTED,
    errors.WaitTooLong: StatusCode.RESOURCE_EXHAUSTED,
    errors.TooMany: StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
    errors.UnknownRegion: StatusCode.NOT_FOUND,
    errors.RegionExists: StatusCode.ALREADY_EXISTS,
    errors.NotEnabled: StatusCode.UNIMPLEMENTED,
    errors.ControlRefused: StatusCode.UNAVAILABLE,
    errors.LoadError: StatusCode.INVALID_ARGUMENT,  # this and the next as Triton has them
    errors.PollError: StatusCode.INTERNAL,
    errors.NoNumber: StatusCode.INTERNAL,
    errors.WrongLabels: StatusCode.INTERNAL,
}
# gRPC sends an error's text as metadata. Clients accept 8 KiB of it, and a byte may take three.
LONGEST = 2000  # bytes
SHORTEST_PUSHBACK = 0.01  # seconds; nothing may have been measured yet
Context = grpc.aio.ServicerContext[Any, Any]
Metadata = tuple[tuple[str, str], ...]
READERS = {
    f"/inference.GRPCInferenceService/{name}": wire.read
    for name in ("ModelInfer", "ModelStreamInfer")
}


class Edge(grpc.aio.ServerInterceptor):
    """Wraps every call of every service. Messages are read here, so that wrong ones are explained.

    A stream counts its requests itself, because it may stay open long after them.
    """

    def __init__(self) -> None:
        self.in_flight = InFlight()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler that gRPC found for a call."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        read = READERS.get(method) or wire.reader(handler.request_deserializer.__self__)
        how = {"response_serializer": handler.response_serializer}
        if handler.unary_unary:
            unary = self._unary(handler.unary_unary, method, read)
            return grpc.unary_unary_rpc_method_handler(unary, **how)
        if handler.unary_stream:
            telling = _iterating(
                lambda one, *context: handler.unary_stream(read(one), *context), method
            )
            return grpc.unary_stream_rpc_method_handler(telling, **how)
        return grpc.stream_stream_rpc_method_handler(
            _stream(handler.stream_stream, method, read), **how
        )

    def _unary(
        self, behaviour: Callable[..., Any], method: str, read: Callable[[Any], Any]
    ) -> Callable[..., Awaitable[Any]]:
        """Wrap a method of one request and one answer."""
        explained = _wrap(lambda message, context: behaviour(read(message), context), method)

        async def call(message: Any, context: Context) -> Any:
            with self.in_flight:
                return await explained(message, context)

        return call


def explain(error: Exception, method: str) -> tuple[StatusCode, str]:
    """Return the status and the text for the caller; log the error if it is not the caller's."""
    if isinstance(error, DecodeError):
        return StatusCode.INVALID_ARGUMENT, f"the request is no message of {method}"
    if isinstance(error, errors.ServingError):
        return STATUS[type(error)], _shortened(str(error))
    log.error("%s failed", method, exc_info=error)
    return StatusCode.INTERNAL, "internal error; the server's log has the details"


def pushback(error: Exception) -> Metadata:
    """Return the metadata that tells a client when to try again, if that is what it should do.

    Clients of gRPC with a retry policy wait for as long as it says, in milliseconds:
    https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback.
    """
    if isinstance(error, errors.QueueFull):
        wait = max(SHORTEST_PUSHBACK, error.retry_after)
        return (("grpc-retry-pushback-ms", str(round(1e3 * wait))),)
    return ()


def _shortened(text: str) -> str:
    """Cut the middle out of a long text; if a client cannot take it, it sees another error."""
    data, half = text.encode(errors="replace"), LONGEST // 2
    if len(data) <= LONGEST:
        return text
    return f"{data[:half].decode(errors='ignore')} … {data[-half:].decode(errors='ignore')}"


def _wrap(behaviour: Callable[..., Any], method: str) -> Callable[..., Awaitable[Any]]:
    async def call(request: Any, context: Context) -> Any:
        try:
            reply = behaviour(request, context)
            return await reply if inspect.isawaitable(reply) else reply
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this call only
            await context.abort(*explain(error, method), pushback(error))

    return call


def _stream(
    behaviour: Callable[..., Any], method: str, read: Callable[[Any], Any]
) -> Callable[..., Any]:
    """Wrap a method of many requests, which returns its answers or writes them itself."""

    def talk(messages: AsyncIterator[Any], context: Context) -> Any:
        return behaviour((read(one) async for one in messages), context)

    writes = inspect.iscoroutinefunction(behaviour)
    return _wrap(talk, method) if writes else _iterating(talk, method)


def _iterating(behaviour: Callable[..., Any], method: str) -> Callable[..., AsyncIterator[Any]]:
    """Wrap a method that returns its answers."""

    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            async for answer in behaviour(request, context):
                yield answer
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            await context.abort(*explain(error, method), pushback(error))

    return call
