"""A crossrun server over gRPC, its tensors in system shared memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun.oip import grpc_service_pb2 as oip
from crossrun_bench.models.model import Model, Probabilities, as_input
from crossrun_bench.pictures.pictures import Batch
from crossrun_bench.processes import shared_memory
from crossrun_bench.targets.runners.grpc_ import RawTensor, answered, infer_request
from crossrun_bench.targets.task import Task

_REGION = "crossrun-bench"


class SharedTensor(RawTensor):
    """ModelInfer whose message only says where the tensors are.

    There is one region, as large as the largest batch so far: the probabilities, then the pixels.
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
        answered(self._stub.ModelInfer, placed_request(self._model, pixels, answer_size))
        return np.frombuffer(self._memory, np.float32, shape[0] * shape[1]).reshape(shape).copy()

    def _register(self, byte_size: int) -> None:
        """Replace the region by a larger one."""
        self._memory = registered(self._stub, byte_size)


def registered(stub: Any, byte_size: int) -> Any:
    """The memory of a region that the server knows. It replaces the region before."""
    forget = oip.SystemSharedMemoryUnregisterRequest(name=_REGION)
    answered(stub.SystemSharedMemoryUnregister, forget)
    with shared_memory.created(byte_size) as (key, memory):
        region = oip.SystemSharedMemoryRegisterRequest(name=_REGION, key=key, byte_size=byte_size)
        answered(stub.SystemSharedMemoryRegister, region)
    return memory


def placed_request(model: Model, pixels: NDArray[Any], answer_size: int) -> oip.ModelInferRequest:
    """A request whose tensors are in the region: the probabilities, then the pixels."""
    request = infer_request(model, pixels.shape)
    _place(request.inputs[0], answer_size, pixels.nbytes)
    _place(request.outputs.add(name=model.output_name), 0, answer_size)
    return request


def _place(tensor: Any, offset: int, byte_size: int) -> None:
    tensor.parameters["shared_memory_region"].string_param = _REGION
    tensor.parameters["shared_memory_offset"].int64_param = offset
    tensor.parameters["shared_memory_byte_size"].int64_param = byte_size
