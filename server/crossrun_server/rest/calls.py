"""Calls of the services for HTTP requests: with the gate, the limits and the errors of gRPC's.

A room says how to read the message of a body, and how to write the response of an answer.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, TypeVar

import grpc
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from crossrun_server.access.gate import Gate
from crossrun_server.errors import DeadlineExceeded
from crossrun_server.fronts.handlers import Handler
from crossrun_server.fronts.limits import Limits
from crossrun_server.models.repository import Repository
from crossrun_server.rest.answers import Answer
from crossrun_server.rest.bodies import Bodies
from crossrun_server.rest.context import HttpContext
from crossrun_server.rest.statuses import GONE, HTTP_STATUS, failed
from crossrun_server.scheduling.in_flight import InFlight
from crossrun_server.services.edge import told
from crossrun_server.telemetry.failures import Failures

T = TypeVar("T")
LARGE = 160_000  # bytes that threads read and write; the event loop goes on meanwhile
STOPPING = 503, "the server stops, and no longer answers this request"

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
        models: knows what models take.
        failures: where calls that fail are noted.
        in_flight: counts the requests that are answered; the stop waits for them.
    """

    handlers: Mapping[str, Handler]
    gate: Gate
    limits: Limits
    bodies: Bodies
    models: Repository
    failures: Failures
    in_flight: InFlight

    async def answer(  # noqa: PLR0913 - what the rooms differ in
        self,
        request: Request,
        method: str,
        read: Read,
        write: Write,
        *,
        names: Any = None,
        most: int | None = None,
    ) -> Response:
        """Answer a request by a call.

        Args:
            request: what is answered.
            method: the path of the RPC.
            read: makes its message of the request's body.
            write: makes the response of its answer.
            names: a message of the method that names the model, if the path does: who may not use
                that is refused before `read` looks at it.
            most: bytes of the body; None: as many as the method's messages may have.
        """
        context = HttpContext(request)
        with ExitStack() as held:
            held.enter_context(self.bodies.account(context))
            try:
                make = await self._message(request, context, method, read, names, most)
                held.enter_context(self.in_flight)
                response = await self._answered(context, method, make, write)
            except ClientDisconnect:
                return Response(status_code=GONE)
            except asyncio.CancelledError:
                return Response(status_code=GONE) if context.done() else failed(*STOPPING)
            response.headers.update(context.headers)
            self.bodies.hold(context, len(response.body))
            return Answer(response, held.pop_all())

    async def _message(  # noqa: PLR0913, PLR0917 - as `answer`
        self,
        request: Request,
        context: HttpContext,
        method: str,
        read: Read,
        names: Any,
        most: int | None,
    ) -> Callable[[], Any]:
        """Read a request; returns what returns its message, or raises why there is none."""
        try:
            self._let_in(method, names, context)
            context.read_deadline()
            limit = self.limits.message_size(method)
            size = limit if most is None else min(most, limit)
            body = await self.bodies.whole(request, context, size)
            message = await done(len(body), partial(read, body))
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this call only
            return partial(_raise, error)
        return lambda: message

    def _let_in(self, method: str, names: Any, context: HttpContext) -> None:
        if names is None:
            self.gate.entrance(method)(context)
        else:
            self.gate.reading(method, lambda message: message)(names, context)

    async def _answered(
        self, context: HttpContext, method: str, make: Callable[[], Any], write: Write
    ) -> Response:
        try:
            answer = await self._call(self.handlers[method], make, context)
            return await done(answer.ByteSize(), partial(write, answer))
        except grpc.aio.AbortError:
            pass  # the context knows how
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this call only
            context.ending = told(self.failures, error, method, context)  # type: ignore[arg-type]
        return _failure(context)

    async def _call(self, handler: Handler, make: Callable[[], Any], context: HttpContext) -> Any:
        """Make a call; it is cancelled if the client goes, or waits no longer.

        Raises:
            DeadlineExceeded: the client waits no longer.
        """
        call = asyncio.ensure_future(handler.unary_unary(make, context))
        leaving = asyncio.ensure_future(context.gone())
        try:
            left, first = context.time_remaining(), asyncio.FIRST_COMPLETED
            await asyncio.wait((call, leaving), timeout=left, return_when=first)
            if not call.done() and not leaving.done():
                raise DeadlineExceeded("the deadline has passed")
        finally:
            leaving.cancel()
            call.cancel()
        return await call


def _failure(context: HttpContext) -> Response:
    assert context.ending is not None
    code, text = context.ending
    if code == grpc.StatusCode.UNAUTHENTICATED:
        context.headers["www-authenticate"] = "Bearer"
    return failed(context.status or HTTP_STATUS.get(code, 500), text)


def _raise(error: Exception) -> NoReturn:
    raise error


async def done(size: int, work: Callable[[], T]) -> T:
    """Do what so many bytes need: here, or on a thread if they are many."""
    return work() if size <= LARGE else await asyncio.to_thread(work)
