"""ModelInfer on threads.

Means what `InferenceService.ModelInfer` means, and shares all that reads, runs and writes.
"""

from contextlib import suppress
from functools import partial

import numpy as np

from crossrun_server.access.callers import Caller as Client
from crossrun_server.models.repository import Repository
from crossrun_server.scheduling.batching import Reply, Result
from crossrun_server.services import inference, wire
from crossrun_server.services.direct.call import (
    Caller,
    DirectCall,
    Failing,
    RawOutput,
    deadline_of,
    unwrapped,
)
from crossrun_server.services.inference import Asked, server_timing
from crossrun_server.services.messages import RequestedOutput
from crossrun_server.telemetry.failures import Failures
from crossrun_server.telemetry.request_record import Origin
from crossrun_server.tensors.shared_memory import Regions

AS_IT_IS = RequestedOutput()
METHOD = "/inference.GRPCInferenceService/ModelInfer"


class DirectInfer:
    """Answers ModelInfer for the models of a repository."""

    def __init__(self, repository: Repository, regions: Regions, failures: Failures) -> None:
        self._repository = repository
        self._regions = regions
        self._fail = Failing(METHOD, failures, _id)

    @property
    def places(self) -> int:
        """How many threads the models can keep busy at once."""
        return sum(model.places for model in self._repository)

    def __call__(self, call: DirectCall, client: Client) -> bool:
        """Answer a call; see `Direct`. Responses are cached on the event loop only."""
        try:
            asked = self._read(call, client)
            if asked.model.cache is not None:
                return False
            self._post(asked, call)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this call only
            self._fail(call, error)
        return True

    def _read(self, call: DirectCall, client: Client) -> Asked:
        if plain := call.plain():
            client.require_model(plain.model_name)
            model = self._repository.get(plain.model_name, plain.model_version)
            deadline = deadline_of(call)
            if not model.surely_fits(deadline):  # a refusal is to be cheap
                with model.counted():
                    model.check_wait(deadline, call.peer())
            return inference.read_plain(model, plain)
        request = wire.read(call.data)
        client.require_model(request.message.model_name)
        return inference.read(self._repository, self._regions, request)

    def _post(self, asked: Asked, call: DirectCall) -> None:
        asked.model.post(
            asked.inputs,
            list(asked.outputs),
            Caller(call, partial(_answer, asked, call), self._fail),
            deadline=deadline_of(call),
            priority=asked.priority,
            timeout=asked.timeout,
            origin=Origin(asked.id, call.traceparent),
            connection=call.peer(),
        )


def _id(call: DirectCall) -> str:
    with suppress(Exception):  # it may be no message at all
        if plain := call.plain():
            return plain.id
        return wire.read(call.data).message.id
    return ""


def _answer(asked: Asked, call: DirectCall, result: Result) -> None:
    reply = unwrapped(result)
    outputs, timing = _raw(asked, reply), server_timing(reply)
    if outputs is None:
        call.reply(inference.respond(asked, reply).SerializeToString(), timing)
    else:
        call.reply_outputs(asked, outputs, timing)


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
