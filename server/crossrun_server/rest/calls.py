"""Calls of the services for HTTP requests: with the gate, the limits and the errors of gRPC's.

A room says how to read the message of a body, and how to write the response of an answer.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, TypeVar

import grpc
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from crossrun_server.access.gate import Gate
from crossrun_server.errors import ServingError
from crossrun_server.fronts.handlers import Handler
from crossrun_server.fronts.limits import Limits
from crossrun_server.rest.bodies import Bodies
from crossrun_server.rest.context import HttpContext
from crossrun_server.rest.statuses import HTTP_STATUS, TOO_LARGE, failed
from crossrun_server.services.edge import explain

T = TypeVar("T")
LARGE = 160_000  # bytes that threads read and write; the event loop goes on meanwhile
GONE = 499  # nobody sees it

Read = Callable[[bytes], Any]  # makes a message of a body; raises ServingError
Write = Callable[[Any], Response]  # makes a response of an answer; raises ServingError


@dataclass(frozen=True)
class Calls:
    """Makes calls.

    Args:
        handlers: of the methods, by path; they take what makes a message, and call it if the
            client may call them.
        gate: is asked before a body is read, too.
        limits: of bodies.
        bodies: reads them.
    """

    handlers: Mapping[str, Handler]
    gate: Gate
    limits: Limits
    bodies: Bodies

    async def answer(self, request: Request, method: str, read: Read, write: Write) -> Response:
        """Answer a request by a call.

        Args:
            request: what is answered.
            method: the path of the RPC.
            read: makes its message of the request's body.
            write: makes the response of its answer.
        """
        context = HttpContext(request)
        with self.bodies.account(context):
            try:
                make = await self._message(request, context, method, read)
                answer = await self._call(self.handlers[method], make, context)
                response = await _done(answer.ByteSize(), partial(write, answer))
            except grpc.aio.AbortError:
                return _failure(context)
            except ServingError as error:  # of `write`
                context.ending = explain(error, method)
                return _failure(context)
            except ClientDisconnect:
                return Response(status_code=GONE)
            except asyncio.CancelledError:
                if context.done():
                    return Response(status_code=GONE)
                raise
        response.headers.update(context.headers)
        return response

    async def _message(
        self, request: Request, context: HttpContext, method: str, read: Read
    ) -> Callable[[], Any]:
        """Read a request; returns what returns its message, or raises why there is none."""
        try:
            self.gate.entrance(method)(context)
            body = await self.bodies.whole(request, context, self.limits.message_size(method))
            message = await _done(len(body), partial(read, body))
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this call only
            return partial(_raise, error)
        return lambda: message

    async def _call(self, handler: Handler, make: Callable[[], Any], context: HttpContext) -> Any:
        """Make a call; it is cancelled if the client goes."""
        call = asyncio.ensure_future(handler.unary_unary(make, context))
        leaving = asyncio.ensure_future(context.gone())
        try:
            await asyncio.wait((call, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            call.cancel()
        return await call


def _failure(context: HttpContext) -> Response:
    assert context.ending is not None
    code, text = context.ending
    if code == grpc.StatusCode.UNAUTHENTICATED:
        context.headers["www-authenticate"] = "Bearer"
    status = TOO_LARGE if context.too_large else HTTP_STATUS.get(code, 500)
    return failed(status, text, context.headers)


def _raise(error: Exception) -> NoReturn:
    raise error


async def _done(size: int, work: Callable[[], T]) -> T:
    """Do what so many bytes need: here, or on a thread if they are many."""
    return work() if size <= LARGE else await asyncio.to_thread(work)
