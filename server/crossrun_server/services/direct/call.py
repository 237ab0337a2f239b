"""A call on threads: what a front end gives, and what a model is told of who waits."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Protocol

from crossrun_server.access.callers import Caller as Client
from crossrun_server.access.gate import Gate
from crossrun_server.scheduling.batching import Reply, Result
from crossrun_server.services import wire
from crossrun_server.services.edge import Metadata, explain, note, pushback
from crossrun_server.services.inference import Asked
from crossrun_server.telemetry.failures import CallInfo, Failures
from crossrun_server.tensors.tensor_spec import Array

# An output of a response: name, datatype, shape, and the values in C order.
RawOutput = tuple[str, str, tuple[int, ...], Array]


class DirectCall(Protocol):
    """A call that is answered on threads."""

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]]:
        """Return what the client has sent along."""

    @property
    def data(self) -> memoryview:
        """The bytes of the request."""

    def plain(self) -> wire.PlainRequest | None:
        """Return a ModelInferRequest without parameters; None if it is none."""

    def peer(self) -> str:
        """Return where the client is, as gRPC writes it."""

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """Return the names in the client's certificate, as grpc.aio.ServicerContext does."""

    def remaining(self) -> float | None:
        """Return the seconds until its deadline; None if it has none."""

    @property
    def waits(self) -> bool:
        """Whether its caller still waits."""

    def gone(self) -> BaseException:
        """Return why its caller does not."""

    def when_gone(self, leave: Callable[[], None]) -> None:
        """Note what is to be called if the caller leaves before it is answered."""

    @property
    def traceparent(self) -> str:
        """To which trace it belongs, as its caller has written it; empty if it has not."""

    def reply(self, message: bytes, timing: str) -> None:
        """Send the answer, and where its time went."""

    def reply_outputs(self, asked: Asked, outputs: list[RawOutput], timing: str) -> None:
        """Send an answer whose outputs are raw."""

    def fail(self, code: int, details: str, trailing: Metadata) -> None:
        """End with an error, and send metadata with it."""


class Direct(Protocol):
    """Answers the calls of one method that were let in."""

    @property
    def places(self) -> int:
        """How many threads can be busy with them at once."""

    def __call__(self, call: DirectCall, client: Client) -> bool:
        """Answer a call, on this thread or later; returns False if this is not the road for it.

        Args:
            call: what is answered.
            client: who makes it; it has to be asked whether it may use the model.
        """


class Gated:
    """Answers the calls of one method, if their clients may make them.

    Args:
        gate: lets them in.
        method: its path.
        direct: answers.
        failures: where calls that are not let in are noted.
    """

    def __init__(self, gate: Gate, method: str, direct: Direct, failures: Failures) -> None:
        self._enter = gate.entrance(method)
        self._fail = Failing(method, failures)
        self._direct = direct

    @property
    def places(self) -> int:
        """How many threads can be busy with them at once."""
        return self._direct.places

    def __call__(self, call: DirectCall) -> bool:
        """Answer a call, or end it; returns False if this is not the road for it."""
        try:
            client = self._enter(call)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this call only
            self._fail(call, error)
            return True
        return self._direct(call, client)


class Caller:
    """A call, as a model sees it: it takes a result.

    Args:
        call: what is answered.
        answer: answers with a result; what it raises ends the call.
        fail: ends it with an error.
    """

    def __init__(
        self,
        call: DirectCall,
        answer: Callable[[Result], None],
        fail: Callable[[DirectCall, Exception], None],
    ) -> None:
        self._call = call
        self._answer = answer
        self._fail = fail
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
            self._fail(self._call, error)


def unwrapped(result: Result) -> Reply:
    """Return the reply, or raise the error."""
    if isinstance(result, Exception):
        raise result
    return result


def deadline_of(call: DirectCall) -> float | None:
    """Return the caller's deadline on the monotonic clock, in seconds; None if there is none."""
    remaining = call.remaining()
    return None if remaining is None else monotonic() + remaining


class Failing:
    """Ends calls of one method with errors, as `explain` says.

    Args:
        method: its path.
        failures: where they are noted.
        id_of: returns the request's id, or an empty text.
    """

    def __init__(
        self, method: str, failures: Failures, id_of: Callable[[DirectCall], str] = lambda _: ""
    ) -> None:
        self._method = method
        self._failures = failures
        self._id_of = id_of

    def __call__(self, call: DirectCall, error: Exception) -> None:
        """End a call; an end that the caller has heard of before is not noted again."""
        explained = explain(error, self._method)
        if call.waits:
            note(self._failures, error, self._method, explained, partial(self._info, call))
        code, details = explained
        call.fail(code.value[0], details, pushback(error))

    def _info(self, call: DirectCall) -> CallInfo:
        return CallInfo(call.peer(), call.traceparent, self._id_of(call))
