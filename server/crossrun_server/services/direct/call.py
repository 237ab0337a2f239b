"""A call on threads: what a front end gives, and what a model is told of who waits."""

from collections.abc import Callable
from time import monotonic
from typing import Protocol

from crossrun_server.scheduling.batching import Reply, Result
from crossrun_server.services import wire
from crossrun_server.services.edge import Metadata, explain, pushback
from crossrun_server.services.inference import Asked
from crossrun_server.tensors.tensor_spec import Array

# An output of a response: name, datatype, shape, and the values in C order.
RawOutput = tuple[str, str, tuple[int, ...], Array]


class DirectCall(Protocol):
    """A call that is answered on threads."""

    @property
    def connection(self) -> str:
        """What names the connection that it came by."""

    @property
    def data(self) -> memoryview:
        """The bytes of the request."""

    def plain(self) -> wire.PlainRequest | None:
        """Return a ModelInferRequest without parameters; None if it is none."""

    def remaining(self) -> float | None:
        """Return the seconds until its deadline; None if it has none."""

    @property
    def waits(self) -> bool:
        """Whether its caller still waits."""

    def gone(self) -> BaseException:
        """Return why its caller does not."""

    def when_gone(self, leave: Callable[[], None]) -> None:
        """Note what is to be called if the caller leaves before it is answered."""

    def reply(self, message: bytes, timing: str) -> None:
        """Send the answer, and where its time went."""

    def reply_outputs(self, asked: Asked, outputs: list[RawOutput], timing: str) -> None:
        """Send an answer whose outputs are raw."""

    def fail(self, code: int, details: str, trailing: Metadata) -> None:
        """End with an error, and send metadata with it."""


class Direct(Protocol):
    """Answers the calls of one method."""

    @property
    def places(self) -> int:
        """How many threads can be busy with them at once."""

    def __call__(self, call: DirectCall) -> bool:
        """Answer a call, on this thread or later; returns False if this is not the road for it."""


class Caller:
    """A call, as a model sees it: it takes a result.

    Args:
        call: what is answered.
        method: its path.
        answer: answers with a result; what it raises ends the call.
    """

    def __init__(self, call: DirectCall, method: str, answer: Callable[[Result], None]) -> None:
        self._call = call
        self._method = method
        self._answer = answer
        self.gone, self.when_gone = call.gone, call.when_gone

    @property
    def waits(self) -> bool:
        """Whether its caller still waits."""
        return self._call.waits

    def answer(self, result: Result) -> None:
        """Answer the call."""
        try:
            self._answer(result)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this call only
            fail(self._call, self._method, error)


def unwrapped(result: Result) -> Reply:
    """Return the reply, or raise the error."""
    if isinstance(result, Exception):
        raise result
    return result


def deadline_of(call: DirectCall) -> float | None:
    """Return the caller's deadline on the monotonic clock, in seconds; None if there is none."""
    remaining = call.remaining()
    return None if remaining is None else monotonic() + remaining


def fail(call: DirectCall, method: str, error: Exception) -> None:
    """End a call with an error, as `explain` says."""
    code, details = explain(error, method)
    call.fail(code.value[0], details, pushback(error))
