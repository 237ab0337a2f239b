"""ModelInfer on the thread that took the request from the network: no event loop in between.

Means what `InferenceService.ModelInfer` means, and shares all that reads, runs and writes.
"""

from collections.abc import Callable
from time import monotonic
from typing import Protocol

from crossrun_server.models.repository import Repository
from crossrun_server.scheduling.batching import Result
from crossrun_server.services import inference, wire
from crossrun_server.services.edge import explain
from crossrun_server.services.inference import Asked, server_timing
from crossrun_server.tensors.shared_memory import Regions

METHOD = "/inference.GRPCInferenceService/ModelInfer"


class DirectCall(Protocol):
    """A call that is answered on threads."""

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

    def fail(self, code: int, details: str) -> None:
        """End with an error."""


class DirectInfer:
    """Answers ModelInfer for the models of a repository."""

    def __init__(self, repository: Repository, regions: Regions) -> None:
        self._repository = repository
        self._regions = regions

    @property
    def places(self) -> int:
        """How many threads the models can keep busy at once."""
        return sum(model.places for model in self._repository)

    def __call__(self, message: memoryview, call: DirectCall) -> bool:
        """Answer a call, on this thread or later; returns False if this is not the road for it.

        Responses are cached on the event loop only.
        """
        try:
            asked = inference.read(self._repository, self._regions, wire.read(message))
            if asked.model.cache is not None:
                return False
            _post(asked, call)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this call only
            _fail(call, error)
        return True


class _Caller:
    """A call, as the model sees it: it takes arrays and errors."""

    def __init__(self, call: DirectCall, asked: Asked) -> None:
        self._call = call
        self._asked = asked
        self.gone, self.when_gone = call.gone, call.when_gone

    @property
    def waits(self) -> bool:
        return self._call.waits

    def answer(self, result: Result) -> None:
        try:
            if isinstance(result, Exception):
                raise result
            message = inference.respond(self._asked, result).SerializeToString()
            self._call.reply(message, server_timing(result))
        except Exception as error:  # noqa: BLE001 - as above
            _fail(self._call, error)


def _post(asked: Asked, call: DirectCall) -> None:
    remaining = call.remaining()
    asked.model.post(
        asked.inputs,
        list(asked.outputs),
        _Caller(call, asked),
        deadline=None if remaining is None else monotonic() + remaining,
        priority=asked.priority,
        timeout=asked.timeout,
        request_id=asked.id,
    )


def _fail(call: DirectCall, error: Exception) -> None:
    code, details = explain(error, METHOD)
    call.fail(code.value[0], details)
