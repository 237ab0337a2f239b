"""The one place where errors become status codes, and where calls in flight are counted."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from grpc import StatusCode

from crossrun_server import errors

log = logging.getLogger(__name__)

STATUS = {
    errors.InvalidRequest: StatusCode.INVALID_ARGUMENT,
    errors.UnknownModel: StatusCode.NOT_FOUND,
    errors.ModelUnavailable: StatusCode.UNAVAILABLE,
    errors.QueueFull: StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: StatusCode.DEADLINE_EXCEEDED,
}
Context = grpc.aio.ServicerContext[Any, Any]


class Edge(grpc.aio.ServerInterceptor):
    """Wraps every unary call of every service."""

    def __init__(self) -> None:
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def drained(self) -> None:
        """Wait until no call is in flight."""
        await self._idle.wait()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler that grpc found for a call."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        return grpc.unary_unary_rpc_method_handler(
            self._wrap(handler.unary_unary, handler_call_details.method),
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _wrap(self, behaviour: Callable[..., Any], method: str) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, context: Context) -> Any:
            self._in_flight += 1
            self._idle.clear()
            try:
                return await _answer(behaviour, request, context, method)
            finally:
                self._in_flight -= 1
                if self._in_flight == 0:
                    self._idle.set()

        return call


async def _answer(
    behaviour: Callable[..., Any], request: object, context: Context, method: str
) -> Any:
    try:
        reply = behaviour(request, context)
        return await reply if inspect.isawaitable(reply) else reply
    except errors.ServingError as error:
        await context.abort(STATUS[type(error)], str(error))
    except NotImplementedError:
        await context.abort(StatusCode.UNIMPLEMENTED, f"{method} is not implemented here")
    except grpc.aio.AbortError:
        raise
    except Exception:
        log.exception("%s failed", method)
        await context.abort(StatusCode.INTERNAL, "internal error; the server's log has the details")
