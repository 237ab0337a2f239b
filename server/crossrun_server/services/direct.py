"""ModelInfer on the thread that took the request from the network: no event loop in between.

Means what `InferenceService.ModelInfer` means, and shares all that reads, runs and writes.
"""

from collections.abc import Callable
from time import monotonic
from typing import Protocol

import numpy as np

from crossrun_server.models.repository import Repository
from crossrun_server.scheduling.batching import Reply, Result
from crossrun_server.services import inference, wire
from crossrun_server.services.edge import explain
from crossrun_server.services.inference import Asked, server_timing
from crossrun_server.services.messages import RequestedOutput
from crossrun_server.tensors.shared_memory import Regions
from crossrun_server.tensors.tensor_spec import Array

AS_IT_IS = RequestedOutput()
METHOD = "/inference.GRPCInferenceService/ModelInfer"


# An output of a response: name, datatype, shape, and the values in C order.
RawOutput = tuple[str, str, tuple[int, ...], Array]


class DirectCall(Protocol):
    """A call that is answered on threads."""

    def request(self) -> wire.PlainRequest | wire.WireRequest:
        """Return the request.

        Raises:
            DecodeError: it is no ModelInferRequest.
        """

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

    def __call__(self, call: DirectCall) -> bool:
        """Answer a call, on this thread or later; returns False if this is not the road for it.

        Responses are cached on the event loop only.
        """
        try:
            asked = self._read(call.request())
            if asked.model.cache is not None:
                return False
            _post(asked, call)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this call only
            _fail(call, error)
        return True

    def _read(self, request: wire.PlainRequest | wire.WireRequest) -> Asked:
        if isinstance(request, wire.PlainRequest):
            return inference.read_plain(self._repository, request)
        return inference.read(self._repository, self._regions, request)


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
            self._reply(result)
        except Exception as error:  # noqa: BLE001 - as above
            _fail(self._call, error)

    def _reply(self, reply: Reply) -> None:
        asked, timing = self._asked, server_timing(reply)
        outputs = _raw(asked, reply)
        if outputs is None:
            self._call.reply(inference.respond(asked, reply).SerializeToString(), timing)
        else:
            self._call.reply_outputs(asked, outputs, timing)


def _raw(asked: Asked, reply: Reply) -> list[RawOutput] | None:
    """Return the outputs as their bytes are sent; None if something must be done to them."""
    if any(wanted != AS_IT_IS for wanted in asked.outputs.values()):
        return None
    outputs = []
    for name, array in reply.outputs.items():
        if array.dtype == np.object_ or not array.flags.c_contiguous:
            return None
        values = array if array.ndim else array.reshape(1)  # a scalar's buffer has no shape
        outputs.append((name, asked.model.outputs[name].datatype, array.shape, values))
    return outputs


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
