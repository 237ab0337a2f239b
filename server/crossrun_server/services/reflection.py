"""Server reflection: lets clients such as grpcurl ask what is served, without a .proto."""

from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2
from grpc_reflection.v1alpha.reflection_pb2_grpc import add_ServerReflectionServicer_to_server

File = Any  # a FileDescriptor, for which the type stubs of protobuf and of gRPC have two names


def add(files: Iterable[File], server: Any) -> None:
    """Let a server describe the services of these files, and reflection itself."""
    described = [*files, reflection_pb2.DESCRIPTOR]
    # The stubs do not all share a pool, so what clients may ask for is put into another.
    pool = DescriptorPool()
    for file in described:
        _add(file, pool)
    servicer = reflection.aio.ReflectionServicer(services(described), pool=pool)
    add_ServerReflectionServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]


def services(files: Iterable[File]) -> list[str]:
    """Return the names of the services that the files define."""
    return [service.full_name for file in files for service in file.services_by_name.values()]


def _add(file: File, pool: DescriptorPool) -> None:
    """Add a file after those that it imports; adding it again changes nothing."""
    for imported in file.dependencies:
        _add(imported, pool)
    pool.AddSerializedFile(file.serialized_pb)
