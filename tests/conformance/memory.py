"""Shared memory of this machine, and requests whose tensors lie in it. Knows POSIX names."""

import uuid
from dataclasses import dataclass, field
from multiprocessing.shared_memory import SharedMemory

import numpy as np

from crossrun.oip import grpc_service_pb2 as pb
from tests.conformance.messages import simple
from tests.conformance.target import Target

SIZE = 4096  # bytes of a region
ROW = 64  # bytes of one row of `oip_simple`


@dataclass
class Region:
    """A piece of shared memory of this machine, registered with the target under its own name."""

    target: Target
    memory: SharedMemory
    name: str = field(default_factory=lambda: f"oip {uuid.uuid4()}")

    @property
    def key(self) -> str:
        """The memory's name to shm_open."""
        return f"/{self.memory.name.lstrip('/')}"

    def register(self, offset: int = 0, size: int = SIZE) -> None:
        """Register the memory, or a part of it."""
        self.target.call("SystemSharedMemoryRegister", self.registration(offset, size))

    def registration(
        self, offset: int = 0, size: int = SIZE
    ) -> pb.SystemSharedMemoryRegisterRequest:
        """Build the request that registers it."""
        return pb.SystemSharedMemoryRegisterRequest(
            name=self.name, key=self.key, offset=offset, byte_size=size
        )

    def unregister(self) -> None:
        """Take the registration back."""
        self.target.call(
            "SystemSharedMemoryUnregister", pb.SystemSharedMemoryUnregisterRequest(name=self.name)
        )

    def write(self, data: bytes, at: int = 0) -> None:
        """Put bytes into the memory."""
        self.buffer[at : at + len(data)] = data

    def read(self, size: int, at: int = 0) -> bytes:
        """Copy bytes out of the memory."""
        return bytes(self.buffer[at : at + size])

    @property
    def buffer(self) -> memoryview:
        """The memory."""
        assert self.memory.buf is not None
        return self.memory.buf


def regions(target: Target, name: str = "") -> dict[str, tuple[str, int, int]]:
    """List what is registered: key, offset and size by name."""
    message = pb.SystemSharedMemoryStatusRequest(name=name)
    found = target.call("SystemSharedMemoryStatus", message).regions
    return {key: (entry.key, entry.offset, entry.byte_size) for key, entry in found.items()}


def place(
    tensor_message: pb.ModelInferRequest.InferInputTensor
    | pb.ModelInferRequest.InferRequestedOutputTensor,
    region: str,
    size: int,
    offset: int = 0,
) -> None:
    """Say that a tensor lies in shared memory."""
    tensor_message.parameters["shared_memory_region"].string_param = region
    tensor_message.parameters["shared_memory_byte_size"].int64_param = size
    if offset:
        tensor_message.parameters["shared_memory_offset"].int64_param = offset


def in_memory(region: str, *, offset: int = 0, size: int = ROW) -> pb.ModelInferRequest:
    """Build a request whose two inputs lie in a region, one behind the other."""
    message = simple(5)
    del message.raw_input_contents[:]
    place(message.inputs[0], region, size, offset)
    place(message.inputs[1], region, size, offset + ROW)
    return message


def fill(region: Region, at: int = 0) -> None:
    """Write the two inputs of a good request into a region: fives and ones."""
    region.write(np.full(16, 5, np.int32).tobytes(), at)
    region.write(np.ones(16, np.int32).tobytes(), at + ROW)


def output_in_memory(
    message: pb.ModelInferRequest, name: str, region: str, size: int = ROW, offset: int = 0
) -> None:
    """Ask for an output in a region."""
    place(message.outputs.add(name=name), region, size, offset)
