"""Lets calls in, turns errors into status codes, counts failures, and counts the calls in flight.

Every call of every service comes through here, but those that threads answer (see `direct`).
Nothing else in the server decides about a status code.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import unquote

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
from crossrun_server.telemetry.failures import CallInfo, Failure, Failures
from crossrun_server.telemetry.trace_context import HEADER

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
    errors.Unauthenticated: StatusCode.UNAUTHENTICATED,
    errors.Forbidden: StatusCode.PERMISSION_DENIED,
}
# gRPC sends an error's text as metadata. Clients accept 8 KiB of it, and a byte may take three.
LONGEST = 2000  # bytes
SHORTEST_PUSHBACK = 0.01  # seconds; nothing may have been measured yet
Context = grpc.aio.ServicerContext[Any, Any]
Metadata = tuple[tuple[str, str], ...]
Explained = tuple[StatusCode, str]  # a status, and the text for the caller
READERS = {
    f"/inference.GRPCInferenceService/{name}": wire.read
    for name in ("ModelInfer", "ModelStreamInfer")
}
Parse = Callable[[Any], Any]
ReadBy = Callable[[str, Any], Parse]  # of a method's path and handler
Read = Callable[[Any, Context], Any]  # makes a request of a message, if its sender may send it


class Ended(Exception):  # noqa: N818 - named after what happened
    """A call has ended elsewhere; its status and its text are known."""

    def __init__(self, code: StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code


class Edge(grpc.aio.ServerInterceptor):
    """Wraps every call of every service. Messages are read here, so that wrong ones are explained.

    A stream counts its requests itself, because it may stay open long after them.

    Args:
        gate: lets calls in.
        log: is told of the calls that control the server.
        failures: where calls that fail are noted.
        in_flight: counts calls, those of other edges too.
        read_by: returns what makes a method's requests of its messages.
    """

    def __init__(
        self,
        gate: Gate,
        log: Audit,
        failures: Failures,
        in_flight: InFlight | None = None,
        read_by: ReadBy | None = None,
    ) -> None:
        self.in_flight = in_flight or InFlight()
        self._gate = gate
        self._audit = log
        self._failures = failures
        self._read_by = read_by or _read_bytes

    def of_made_messages(self) -> "Edge":
        """Return an edge beside this one, whose callers send what makes a message, not bytes."""
        return Edge(
            self._gate, self._audit, self._failures, self.in_flight, lambda *_: lambda make: make()
        )

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
        parse = self._read_by(method, handler)
        read = self._gate.reading(method, parse)
        how = {"response_serializer": handler.response_serializer}
        if handler.unary_unary:
            unary = self._unary(handler.unary_unary, method, parse)
            return grpc.unary_unary_rpc_method_handler(unary, **how)
        if handler.unary_stream:
            telling = self._iterating(
                lambda one, context: handler.unary_stream(read(one, context), context), method
            )
            return grpc.unary_stream_rpc_method_handler(telling, **how)
        return grpc.stream_stream_rpc_method_handler(
            self._stream(handler.stream_stream, method, read), **how
        )

    def _unary(
        self, behaviour: Callable[..., Any], method: str, parse: Parse
    ) -> Callable[..., Awaitable[Any]]:
        """Wrap a method of one request and one answer."""
        read = self._gate.reading(method, parse)
        rule = rule_of(method)
        if rule.listing:
            behaviour = self._listing(behaviour, method)
        if rule.scope == Scope.CONTROL:
            answer = self._audited(behaviour, method, read)
        else:
            answer = self._wrap(
                lambda message, context: behaviour(read(message, context), context),
                method,
                partial(_id, parse),
            )

        async def call(message: Any, context: Context) -> Any:
            with self.in_flight:
                return await answer(message, context)

        return call

    def _wrap(
        self,
        behaviour: Callable[..., Any],
        method: str,
        id_of: Callable[[Any], str] = lambda _: "",
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
                request_id = partial(id_of, request)
                how = told(self._failures, error, method, context, request_id)
                ended(*how)
                await _abort(context, error, how)

        return call

    def _iterating(
        self, behaviour: Callable[..., Any], method: str
    ) -> Callable[..., AsyncIterator[Any]]:
        """Wrap a method that returns its answers."""

        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            try:
                async for answer in behaviour(request, context):
                    yield answer
            except grpc.aio.AbortError:
                raise
            except Exception as error:  # noqa: BLE001 - as above
                await _abort(context, error, told(self._failures, error, method, context))

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
            caller, asked, told = self._gate.who(context), None, False

            def answer(message: Any, context: Context) -> Any:
                nonlocal asked
                asked = read(message, context)
                return behaviour(asked, context)

            def ended(code: StatusCode, details: str) -> None:  # before the caller hears of it
                nonlocal told
                how, told = (code.name, details), True
                self._audit.write(audit.describe(caller, context.peer(), method, asked, how))

            try:
                found = await self._wrap(answer, method, ended=ended)(message, context)
                ended(StatusCode.OK, "")
                return found
            finally:
                if not told:
                    ended(StatusCode.CANCELLED, "")

        return call

    def _stream(self, behaviour: Callable[..., Any], method: str, read: Read) -> Callable[..., Any]:
        """Wrap a method of many requests, which returns its answers or writes them itself."""
        enter = self._gate.entrance(method)

        def talk(messages: AsyncIterator[Any], context: Context) -> Any:
            enter(context)  # not only once there is a message
            return behaviour((read(one, context) async for one in messages), context)

        writes = inspect.iscoroutinefunction(behaviour)
        return self._wrap(talk, method) if writes else self._iterating(talk, method)


def _read_bytes(method: str, handler: Any) -> Parse:
    return READERS.get(method) or wire.reader(handler.request_deserializer.__self__)


async def _abort(context: Context, error: Exception, explained: Explained) -> None:
    """End a call. If gRPC ends it meanwhile, it has been noted all the same."""
    try:
        await context.abort(*explained, pushback(error))
    except asyncio.CancelledError:
        raise grpc.aio.AbortError("the call has ended meanwhile") from None


def told(
    failures: Failures,
    error: Exception,
    method: str,
    context: Context,
    request_id: Callable[[], str] = str,
) -> Explained:
    """Explain an error, and note how the call ends, unless the caller has heard an end before."""
    explained = explain(error, method)
    if not context.done():
        note(failures, error, method, explained, lambda: info_of(context, request_id()))
    return explained


def note(
    failures: Failures,
    error: Exception,
    method: str,
    explained: Explained,
    info: Callable[[], CallInfo],
) -> None:
    """Note how a call ends."""
    code, details = explained
    failure = Failure(method.removeprefix("/"), code.name, _reason(error))
    failures.note(failure, details, info, error=None if _is_expected(error) else error)


def explain(error: Exception, method: str) -> Explained:
    """Return the status and the text for the caller."""
    if isinstance(error, DecodeError):
        return StatusCode.INVALID_ARGUMENT, f"the request is no message of {method}"
    if isinstance(error, Ended):
        return error.code, str(error)
    if isinstance(error, errors.ServingError):
        return STATUS[type(error)], _shortened(str(error))
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


def info_of(context: Context, request_id: str = "") -> CallInfo:
    """Return what is known of a call."""
    return CallInfo(unquote(context.peer()), traceparent(context), request_id)


def traceparent(context: Context) -> str:
    """Return to which trace a call belongs, as its caller has written it; empty if it has not."""
    sent = context.invocation_metadata() or ()
    return next((str(value) for name, value in sent if name == HEADER), "")


def _reason(error: Exception) -> str:
    return type(error).__name__ if _is_expected(error) else "Unexpected"


def _is_expected(error: Exception) -> bool:
    return isinstance(error, DecodeError | Ended | errors.ServingError)


def _id(parse: Parse, message: Any) -> str:
    """Return the id of a request that has failed; empty if it has none."""
    with suppress(Exception):  # it may be no message at all
        request = parse(message)
        return str(getattr(getattr(request, "message", request), "id", ""))
    return ""


def _shortened(text: str) -> str:
    """Cut the middle out of a long text; if a client cannot take it, it sees another error."""
    data, half = text.encode(errors="replace"), LONGEST // 2
    if len(data) <= LONGEST:
        return text
    return f"{data[:half].decode(errors='ignore')} … {data[-half:].decode(errors='ignore')}"
