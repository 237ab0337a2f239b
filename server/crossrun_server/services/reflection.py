"""Server reflection: lets clients such as grpcurl ask what is served, without a .proto.

It has two names for the same messages: v1, and v1alpha, which older clients know alone.
"""

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2

File = Any  # a FileDescriptor, for which the type stubs of protobuf and of gRPC have two names


class _Symbols:
    """The files of a pool, by whatever they define: the pool itself does not know methods."""

    def __init__(self, pool: DescriptorPool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> File:
        """Find a file; KeyError if none defines the symbol."""
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            return self._pool.FindMethodByName(symbol).containing_service.file


def add(files: Iterable[File], server: Any) -> None:
    """Let a server describe the services of these files, and reflection itself."""
    described = [*files, *FILES]
    # The stubs do not all share a pool, so what clients may ask for is put into another.
    pool = DescriptorPool()
    for file in described:
        _add(file, pool)
    servicer = reflection.aio.ReflectionServicer(services(described), pool=_Symbols(pool))
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        reflection_pb2.ServerReflectionRequest.FromString,
        reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in services(FILES):
        methods = {"ServerReflectionInfo": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
        server.add_registered_method_handlers(name, methods)


def services(files: Iterable[File]) -> list[str]:
    """Return the names of the services that the files define."""
    return [service.full_name for file in files for service in file.services_by_name.values()]


def _add(file: File, pool: DescriptorPool) -> None:
    """Add a file after those that it imports; adding it again changes nothing."""
    for imported in file.dependencies:
        _add(imported, pool)
    pool.AddSerializedFile(file.serialized_pb)


def _v1() -> File:
    """Return the file of v1, whose messages are v1alpha's; the library has none of it."""
    proto = FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(proto)
    proto.name, proto.package = "grpc/reflection/v1/reflection.proto", "grpc.reflection.v1"
    fields = [field for message in proto.message_type for field in message.field if field.type_name]
    for field in fields:
        field.type_name = _renamed(field.type_name)
    for method in proto.service[0].method:
        method.input_type = _renamed(method.input_type)
        method.output_type = _renamed(method.output_type)
    pool = DescriptorPool()
    pool.Add(proto)
    return pool.FindFileByName(proto.name)


def _renamed(name: str) -> str:
    return name.replace(".v1alpha.", ".v1.")


FILES: tuple[File, ...] = (_v1(), reflection_pb2.DESCRIPTOR)
