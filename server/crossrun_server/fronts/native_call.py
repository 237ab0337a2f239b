"""One call of the native front end, as those who answer see it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, NoReturn

import crossrun_front
import grpc

from crossrun_server.errors import DeadlineExceeded
from crossrun_server.fronts.handlers import Handler
from crossrun_server.scheduling.interruption import LATE
from crossrun_server.services.direct.call import RawOutput
from crossrun_server.services.inference import Asked
from crossrun_server.services.wire import PlainRequest
from crossrun_server.telemetry.trace_context import HEADER

Metadata = Sequence[tuple[str, str | bytes]]
UNSENT = 1 << 20  # bytes of a stream's answers that wait for a slow client


class NativeContext:
    """A call on the event loop.

    Has what the services use of grpc.aio.ServicerContext, with its meaning.

    Args:
        call: the native call.
        serialize: makes bytes of an answer.
    """

    def __init__(self, call: crossrun_front.Call, serialize: Callable[[Any], bytes]) -> None:
        self.call = call
        self.ending = grpc.StatusCode.UNKNOWN, ""  # of an abort
        self._trailing: Metadata = ()
        self._serialize = serialize
        self._changed = asyncio.Event()

    def done(self) -> bool:
        """Whether the client has heard an end, or has gone."""
        return not self.call.waits

    def time_remaining(self) -> float | None:
        """Return the seconds until the deadline; None if there is none."""
        return self.call.remaining()

    def invocation_metadata(self) -> Metadata:
        """Return what the client has sent along."""
        return tuple(self.call.metadata())

    def peer(self) -> str:
        """Return where the client is, such as `ipv4:127.0.0.1:50000`."""
        return self.call.peer()

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """Return the names in the client's certificate: `x509_common_name` and the others."""
        return self.call.auth_context()

    def set_trailing_metadata(self, metadata: Metadata) -> None:
        """Send metadata with the status."""
        self._trailing = metadata

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Metadata = ()
    ) -> NoReturn:
        """End the call with an error."""
        self.ending = code, details
        self._trailing = trailing_metadata
        raise grpc.aio.AbortError("the call is aborted")

    async def write(self, answer: Any) -> None:
        """Send an answer of a stream; wait while the client takes none."""
        self.call.send(self._serialize(answer))
        while self.call.unsent > UNSENT and self.call.waits:
            await self._change()

    async def requests(self, handler: Handler) -> AsyncIterator[Any]:
        """Iterate over the messages of a stream."""
        while True:
            message, ended = self.call.receive()
            if ended:
                return
            if message is None:
                await self._change()
            else:
                yield self.read(handler, message)

    def read(self, handler: Handler, message: crossrun_front.Message) -> Any:
        """Make a request of a message, as the handler wants it."""
        data = memoryview(message)
        return handler.request_deserializer(data) if handler.request_deserializer else data

    def reply(self, answer: Any) -> None:
        """Send the only answer, and end the call."""
        self.call.reply(self._serialize(answer), self._trailing)

    def end(self, code: grpc.StatusCode, details: str) -> None:
        """End the call."""
        self.call.end(code.value[0], details, self._trailing)

    def changed(self) -> None:
        """Hear that there is a message, or room for one, or that the call has ended."""
        self._changed.set()

    async def _change(self) -> None:
        await self._changed.wait()
        self._changed.clear()


class NativeDirectCall:
    """A call on threads; see DirectCall.

    Args:
        call: the native call.
        message: its request.
        leaving: what is called if calls end early, by their numbers.
    """

    def __init__(
        self,
        call: crossrun_front.Call,
        message: crossrun_front.Message,
        leaving: dict[int, Callable[[], None]],
    ) -> None:
        self._call = call
        self._message = message
        self._leaving = leaving
        self.peer, self.auth_context = call.peer, call.auth_context
        self.remaining = call.remaining
        self.invocation_metadata = call.metadata

    @property
    def data(self) -> memoryview:
        """The bytes of the request."""
        return memoryview(self._message)

    def plain(self) -> PlainRequest | None:
        """Return a ModelInferRequest without parameters; None if it is none."""
        plain = self._message.plain_request()
        return PlainRequest(*plain, self.data) if plain else None

    @property
    def waits(self) -> bool:
        """Whether the caller still waits."""
        return self._call.waits

    @property
    def traceparent(self) -> str:
        """To which trace it belongs, as the client has written it; empty if it has not."""
        return self._call.header(HEADER) or ""

    def gone(self) -> BaseException:
        """Return why the caller does not."""
        return DeadlineExceeded(LATE) if self._call.late else asyncio.CancelledError()

    def when_gone(self, leave: Callable[[], None]) -> None:
        """Note what is to be called if the caller leaves."""
        self._leaving[self._call.id] = leave
        if not self.waits:  # it has been told of already
            self._leaving.pop(self._call.id, None)

    def reply(self, message: bytes, timing: str) -> None:
        """Send the answer."""
        self._leaving.pop(self._call.id, None)
        self._call.reply(message, (("server-timing", timing),))

    def reply_outputs(self, asked: Asked, outputs: list[RawOutput], timing: str) -> None:
        """Send an answer whose outputs are raw."""
        self._leaving.pop(self._call.id, None)
        model, trailing = asked.model, (("server-timing", timing),)
        self._call.reply_outputs(model.name, model.version, asked.id, outputs, trailing)

    def fail(self, code: int, details: str, trailing: Metadata) -> None:
        """End with an error, and send metadata with it."""
        self._leaving.pop(self._call.id, None)
        self._call.end(code, details, trailing)
