"""A crossrun server over gRPC, its tensors in system shared memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crossrun.oip import grpc_service_pb2 as oip
from crossrun_bench import shared_memory
from crossrun_bench.model import as_input
from crossrun_bench.runners.grpc_ import RawTensor, answered, infer_request

if TYPE_CHECKING:
    from crossrun_bench.pictures import Batch
    from crossrun_bench.runners import Probabilities, Task

_REGION = "crossrun-bench"


class SharedTensor(RawTensor):
    """ModelInfer whose message says no more than where the tensors lie.

    One region, as large as the largest batch so far: the probabilities, then the pixels.
    """

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self._memory: Any = b""

    def run(self, batch: Batch) -> Probabilities:
        """Copy the pixels into the memory, ask, and copy the probabilities out of it."""
        pixels = as_input(self._model, batch.pixels)
        shape = (len(pixels), self._model.classes)
        answer_size = np.dtype(np.float32).itemsize * len(pixels) * self._model.classes
        if answer_size + pixels.nbytes > len(self._memory):
            self._register(answer_size + pixels.nbytes)
        np.frombuffer(self._memory, pixels.dtype, pixels.size, answer_size)[:] = pixels.ravel()
        request = infer_request(self._model, pixels.shape)
        _place(request.inputs[0], answer_size, pixels.nbytes)
        _place(request.outputs.add(name=self._model.output_name), 0, answer_size)
        answered(self._stub.ModelInfer, request)
        return np.frombuffer(self._memory, np.float32, shape[0] * shape[1]).reshape(shape).copy()

    def _register(self, byte_size: int) -> None:
        """Forget the region of before and register a larger one."""
        forget = oip.SystemSharedMemoryUnregisterRequest(name=_REGION)
        answered(self._stub.SystemSharedMemoryUnregister, forget)
        with shared_memory.created(byte_size) as (key, self._memory):
            region = oip.SystemSharedMemoryRegisterRequest(
                name=_REGION, key=key, byte_size=byte_size
            )
            answered(self._stub.SystemSharedMemoryRegister, region)


def _place(tensor: Any, offset: int, byte_size: int) -> None:
    tensor.parameters["shared_memory_region"].string_param = _REGION
    tensor.parameters["shared_memory_offset"].int64_param = offset
    tensor.parameters["shared_memory_byte_size"].int64_param = byte_size
