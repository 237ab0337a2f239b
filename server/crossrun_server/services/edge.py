"""Lets calls in, turns errors into status codes, and counts the calls in flight.

Every call of every service comes through here, but those that threads answer (see `direct`).
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
from crossrun_server.access import audit
from crossrun_server.access.audit import Audit
from crossrun_server.access.callers import Scope
from crossrun_server.access.gate import Gate, permitted
from crossrun_server.access.rules import rule_of
from crossrun_server.scheduling.in_flight import InFlight
from crossrun_server.services import wire

log = logging.getLogger(__name__)

STATUS = {
    errors.InvalidRequest: StatusCode.INVALID_ARGUMENT,
    errors.NotSupported: StatusCode.UNIMPLEMENTED,
    errors.UnknownModel: StatusCode.NOT_FOUND,
    errors.ModelUnavailable: StatusCode.UNAVAILABLE,
    errors.QueueFull: StatusCode.RESOURCE_EXHAUSTED,
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
    errors.Unauthenticated: StatusCode.UNAUTHENTICATED,
    errors.Forbidden: StatusCode.PERMISSION_DENIED,
}
# gRPC sends an error's text as metadata. Clients accept 8 KiB of it, and a byte may take three.
LONGEST = 2000  # bytes
Context = grpc.aio.ServicerContext[Any, Any]
READERS = {
    f"/inference.GRPCInferenceService/{name}": wire.read
    for name in ("ModelInfer", "ModelStreamInfer")
}
Read = Callable[[Any, Context], Any]  # makes a request of a message, if its sender may send it


class Edge(grpc.aio.ServerInterceptor):
    """Wraps every call of every service. Messages are read here, so that wrong ones are explained.

    A stream counts its requests itself, because it may stay open long after them.

    Args:
        gate: lets calls in.
        log: is told of the calls that control the server.
    """

    def __init__(self, gate: Gate, log: Audit) -> None:
        self.in_flight = InFlight()
        self._gate = gate
        self._audit = log

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
        parse = READERS.get(method) or wire.reader(handler.request_deserializer.__self__)
        read = self._gate.reading(method, parse)
        how = {"response_serializer": handler.response_serializer}
        if handler.unary_unary:
            unary = self._unary(handler.unary_unary, method, read)
            return grpc.unary_unary_rpc_method_handler(unary, **how)
        if handler.unary_stream:
            telling = _iterating(
                lambda one, context: handler.unary_stream(read(one, context), context), method
            )
            return grpc.unary_stream_rpc_method_handler(telling, **how)
        return grpc.stream_stream_rpc_method_handler(
            self._stream(handler.stream_stream, method, read), **how
        )

    def _unary(
        self, behaviour: Callable[..., Any], method: str, read: Read
    ) -> Callable[..., Awaitable[Any]]:
        """Wrap a method of one request and one answer."""
        rule = rule_of(method)
        if rule.listing:
            behaviour = self._listing(behaviour, method)
        if rule.scope == Scope.CONTROL:
            explained = self._audited(behaviour, method, read)
        else:
            explained = _wrap(
                lambda message, context: behaviour(read(message, context), context), method
            )

        async def call(message: Any, context: Context) -> Any:
            with self.in_flight:
                return await explained(message, context)

        return call

    def _listing(
        self, behaviour: Callable[..., Awaitable[Any]], method: str
    ) -> Callable[..., Awaitable[Any]]:
        """Wrap a method that lists models: callers see those that they may use."""

        async def call(request: Any, context: Context) -> Any:
            return permitted(self._gate.who(context), method, await behaviour(request, context))

        return call

    def _audited(
        self, behaviour: Callable[..., Any], method: str, read: Read
    ) -> Callable[..., Awaitable[Any]]:
        """Wrap a method that controls the server: each call is written down, however it ends."""

        async def call(message: Any, context: Context) -> Any:
            caller, asked = self._gate.who(context), None
            ending = StatusCode.CANCELLED, ""

            def answer(message: Any, context: Context) -> Any:
                nonlocal asked
                asked = read(message, context)
                return behaviour(asked, context)

            def ended(*how: Any) -> None:
                nonlocal ending
                ending = how

            try:
                found = await _wrap(answer, method, ended)(message, context)
                ended(StatusCode.OK, "")
                return found
            finally:
                code, details = ending
                peer = context.peer()
                entry = audit.describe(caller, peer, method, asked, (code.name, details))
                self._audit.write(entry)

        return call

    def _stream(self, behaviour: Callable[..., Any], method: str, read: Read) -> Callable[..., Any]:
        """Wrap a method of many requests, which returns its answers or writes them itself."""
        enter = self._gate.entrance(method)

        def talk(messages: AsyncIterator[Any], context: Context) -> Any:
            enter(context)  # not only once there is a message
            return behaviour((read(one, context) async for one in messages), context)

        writes = inspect.iscoroutinefunction(behaviour)
        return _wrap(talk, method) if writes else _iterating(talk, method)


class Ended(Exception):  # noqa: N818 - named after what happened
    """A call has ended elsewhere; its status and its text are known."""

    def __init__(self, code: StatusCode, details: str) -> None:
        super().__init__(details)
        self.code, self.details = code, details


def explain(error: Exception, method: str) -> tuple[StatusCode, str]:
    """Return the status and the text for the caller; log the error if it is not the caller's."""
    if isinstance(error, Ended):
        return error.code, error.details
    if isinstance(error, DecodeError):
        return StatusCode.INVALID_ARGUMENT, f"the request is no message of {method}"
    if isinstance(error, errors.ServingError):
        return STATUS[type(error)], _shortened(str(error))
    log.error("%s failed", method, exc_info=error)
    return StatusCode.INTERNAL, "internal error; the server's log has the details"


def _shortened(text: str) -> str:
    """Cut the middle out of a long text; if a client cannot take it, it sees another error."""
    data, half = text.encode(errors="replace"), LONGEST // 2
    if len(data) <= LONGEST:
        return text
    return f"{data[:half].decode(errors='ignore')} … {data[-half:].decode(errors='ignore')}"


def _wrap(
    behaviour: Callable[..., Any],
    method: str,
    ended: Callable[[StatusCode, str], None] = lambda _code, _details: None,
) -> Callable[..., Awaitable[Any]]:
    """Wrap a method so that its errors end the call; `ended` is told how, if they do."""

    async def call(request: Any, context: Context) -> Any:
        try:
            reply = behaviour(request, context)
            return await reply if inspect.isawaitable(reply) else reply
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this call only
            how = explain(error, method)
            ended(*how)
            await context.abort(*how)

    return call


def _iterating(behaviour: Callable[..., Any], method: str) -> Callable[..., AsyncIterator[Any]]:
    """Wrap a method that returns its answers."""

    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            async for answer in behaviour(request, context):
                yield answer
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            await context.abort(*explain(error, method))

    return call
