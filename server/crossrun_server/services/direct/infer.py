"""ModelInfer on threads.

Means what `InferenceService.ModelInfer` means, and shares all that reads, runs and writes.
"""

from functools import partial

import numpy as np

from crossrun_server.models.repository import Repository
from crossrun_server.scheduling.batching import Reply, Result
from crossrun_server.services import inference, wire
from crossrun_server.services.direct.call import (
    Caller,
    DirectCall,
    RawOutput,
    deadline_of,
    fail,
    unwrapped,
)
from crossrun_server.services.inference import Asked, server_timing
from crossrun_server.services.messages import RequestedOutput
from crossrun_server.tensors.shared_memory import Regions

AS_IT_IS = RequestedOutput()
METHOD = "/inference.GRPCInferenceService/ModelInfer"


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
        """Answer a call; see `Direct`. Responses are cached on the event loop only."""
        try:
            asked = self._read(call)
            if asked.model.cache is not None:
                return False
            _post(asked, call)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this call only
            fail(call, METHOD, error)
        return True

    def _read(self, call: DirectCall) -> Asked:
        if plain := call.plain():
            model = self._repository.get(plain.model_name, plain.model_version)
            if model.crowded:  # then most are refused, and that is to be cheap
                with model.counted():
                    model.check_wait(deadline_of(call), call.connection)
            return inference.read_plain(model, plain)
        return inference.read(self._repository, self._regions, wire.read(call.data))


def _post(asked: Asked, call: DirectCall) -> None:
    asked.model.post(
        asked.inputs,
        list(asked.outputs),
        Caller(call, METHOD, partial(_answer, asked, call)),
        deadline=deadline_of(call),
        priority=asked.priority,
        timeout=asked.timeout,
        request_id=asked.id,
        connection=call.connection,
    )


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
