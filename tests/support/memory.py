"""Regions of system shared memory, as a client makes, registers and reads them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub

FOLDER = Path("/dev/shm")
PAGE = 4096
Create = Callable[[bytes], str]


def content(key: str) -> bytes:
    return (FOLDER / key[1:]).read_bytes()


def register(
    channel: grpc.Channel, key: str, byte_size: int, offset: int = 0, name: str = "memory"
) -> None:
    request = pb.SystemSharedMemoryRegisterRequest(
        name=name, key=key, offset=offset, byte_size=byte_size
    )
    Stub(channel).SystemSharedMemoryRegister(request)


def status(channel: grpc.Channel, name: str = "") -> dict[str, tuple[str, int, int]]:
    reply = Stub(channel).SystemSharedMemoryStatus(pb.SystemSharedMemoryStatusRequest(name=name))
    assert all(key == region.name for key, region in reply.regions.items())
    return {r.name: (r.key, r.offset, r.byte_size) for r in reply.regions.values()}


def unregister(channel: grpc.Channel, name: str = "") -> None:
    request = pb.SystemSharedMemoryUnregisterRequest(name=name)
    Stub(channel).SystemSharedMemoryUnregister(request)


def put(
    tensor: Any, byte_size: int | None, offset: int | None = None, region: str = "memory"
) -> None:
    """Say of an input or output that it lies in a region."""
    tensor.parameters["shared_memory_region"].string_param = region
    if byte_size is not None:
        tensor.parameters["shared_memory_byte_size"].int64_param = byte_size
    if offset is not None:
        tensor.parameters["shared_memory_offset"].int64_param = offset


def identity(datatype: str, size: int, offset: int = 0) -> pb.ModelInferRequest:
    """A request whose input is `size` bytes of the region "memory"."""
    message = pb.ModelInferRequest(model_name=f"identity_{datatype.lower()}")
    message.inputs.add(name="x", datatype=datatype, shape=[1, 2])
    put(message.inputs[0], size, offset)
    return message
