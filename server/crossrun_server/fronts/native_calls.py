"""The calls that the event loop answers for the native front end, each in a task."""

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from typing import Any

import crossrun_front
import grpc

from crossrun_server.fronts.handlers import Handler
from crossrun_server.fronts.native_call import NativeContext
from crossrun_server.services.edge import told
from crossrun_server.telemetry.failures import LATE, LIMIT, TRANSPORT, CallInfo, Failure, Failures

log = logging.getLogger(__name__)

# Services end calls at their deadline themselves; seconds after which the others are cancelled.
PAST_DEADLINE = 0.1
# Why the front ends calls by itself, by code.
REASONS = {
    grpc.StatusCode.RESOURCE_EXHAUSTED: LIMIT,
    grpc.StatusCode.DEADLINE_EXCEEDED: LATE,
}
CODES = {code.value[0]: code for code in grpc.StatusCode}


class Calls:
    """The calls that are open.

    Args:
        front: tells of new calls and of changes.
        handlers: the path and the handler of each method, in the front's order.
        failures: where calls that fail are noted.
    """

    def __init__(
        self,
        front: crossrun_front.Front,
        handlers: Sequence[tuple[str, Handler]],
        failures: Failures,
    ) -> None:
        self._front = front
        self._handlers = handlers
        self._failures = failures
        self._open: dict[int, tuple[asyncio.Task[None], NativeContext]] = {}
        self.leaving: dict[int, Callable[[], None]] = {}  # of calls on threads, by number

    def follow(self) -> None:
        """Answer new calls, tell the others what has changed, and log what the front says."""
        for number, event in self._front.events():
            if isinstance(event, str):
                log.warning("%s", event)
            elif event is not None:
                self.answer(event)
            elif number in self._open:
                _change(*self._open[number])
            elif leave := self.leaving.pop(number, None):
                leave()
        for refusal in self._front.refusals():
            self._note(*refusal)

    def answer(self, call: crossrun_front.Call, message: Any = None) -> None:
        """Answer a call in a task; `message` is its request if that has been taken already."""
        path, handler = self._handlers[call.method]
        context = NativeContext(call, handler.response_serializer)
        answering = self._answer(path, handler, context, message)
        task = asyncio.get_running_loop().create_task(answering)
        self._open[call.id] = task, context
        task.add_done_callback(lambda _: self._open.pop(call.id))
        if not call.waits:  # it has left while threads had it
            _change(task, context)

    async def cancel(self) -> None:
        """Cancel the calls that are still open."""
        tasks = [task for task, _ in self._open.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _note(  # noqa: PLR0913, PLR0917 - as the front tells it
        self, method: int | None, code: int, count: int, details: str, peer: str, trace: str
    ) -> None:
        """Note calls that the front has ended by itself."""
        path = "unknown" if method is None else self._handlers[method][0].removeprefix("/")
        status = CODES[code]
        failure = Failure(path, status.name, REASONS.get(status, TRANSPORT))
        self._failures.note(failure, details, lambda: CallInfo(peer, trace), count=count)

    async def _answer(
        self, path: str, handler: Handler, context: NativeContext, message: Any
    ) -> None:
        """Answer a call and end it, with an error if need be."""
        try:
            if handler.unary_unary:
                answer = await handler.unary_unary(_request(handler, context, message), context)
                context.reply(answer)
            else:
                await _stream(handler, context)
                context.end(grpc.StatusCode.OK, "")
        except grpc.aio.AbortError:
            context.end(*context.ending)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this call only
            ended = told(self._failures, error, path, context)  # type: ignore[arg-type]  # as a Context
            context.end(*ended)


def _change(task: asyncio.Task[None], context: NativeContext) -> None:
    if context.call.late:
        asyncio.get_running_loop().call_later(PAST_DEADLINE, task.cancel)
    elif not context.call.waits:
        task.cancel()
    context.changed()


def _request(handler: Handler, context: NativeContext, message: Any = None) -> Any:
    taken = context.call.receive()[0] if message is None else message  # which may be empty
    assert taken is not None  # the front has read the whole request
    return context.read(handler, taken)


async def _stream(handler: Handler, context: NativeContext) -> None:
    """Answer with a stream, which the handler returns or writes itself."""
    if handler.stream_stream:
        answers = handler.stream_stream(context.requests(handler), context)
    else:
        answers = handler.unary_stream(_request(handler, context), context)
    if inspect.isawaitable(answers):
        await answers
        return
    async for answer in answers:
        await context.write(answer)
