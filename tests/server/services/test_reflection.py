"""Server reflection by both of its names: what clients without our .proto find out."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha import reflection_pb2 as pb
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from crossrun_server.services import reflection

SERVICES = {
    "inference.GRPCInferenceService",
    "crossrun.v1.Vision",
    "crossrun.v1.Providers",
    "tensorflow.serving.PredictionService",
    "tensorflow.serving.ModelService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}
NOT_FOUND = 5


@pytest.fixture(params=reflection.services(reflection.FILES))
def ask(request: pytest.FixtureRequest, channel: grpc.Channel) -> Any:
    """Ask reflection by one of its names, whose messages are the same."""
    call = channel.stream_stream(
        f"/{request.param}/ServerReflectionInfo",
        pb.ServerReflectionRequest.SerializeToString,
        pb.ServerReflectionResponse.FromString,
    )

    def one(**asked: Any) -> pb.ServerReflectionResponse:
        (answer,) = call(iter([pb.ServerReflectionRequest(**asked)]))
        assert isinstance(answer, pb.ServerReflectionResponse)
        return answer

    return one


def symbols(message: Any) -> Iterator[str]:
    """The full names of a message and of all that it defines."""
    yield message.full_name
    yield from (one.full_name for one in (*message.fields, *message.oneofs))
    for enum in message.enum_types:
        yield from (enum.full_name, *(f"{message.full_name}.{v.name}" for v in enum.values))
    for nested in message.nested_types:
        yield from symbols(nested)


def all_symbols(file: Any) -> Iterator[str]:
    """The full names of all that a file defines."""
    for message in file.message_types_by_name.values():
        yield from symbols(message)
    for enum in file.enum_types_by_name.values():
        yield enum.full_name
        yield from (f"{file.package}.{value.name}" for value in enum.values)
    for service in file.services_by_name.values():
        yield from (service.full_name, *(method.full_name for method in service.methods))


def test_the_services_are_listed(ask: Any) -> None:
    """A client without our .proto can find out what there is, by the old name and by the new."""
    listed = ask(list_services="").list_services_response.service
    assert {one.name for one in listed} == SERVICES


def test_whatever_has_a_full_name_is_described(ask: Any, channel: grpc.Channel) -> None:
    """Services, methods, messages, fields, oneofs, enums and their values: each finds its file."""
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    for service in SERVICES:
        file = pool.FindServiceByName(service).file
        for symbol in all_symbols(file):
            found = ask(file_containing_symbol=symbol).file_descriptor_response
            files = [FileDescriptorProto.FromString(one) for one in found.file_descriptor_proto]
            assert file.name in {one.name for one in files}, symbol


@pytest.mark.parametrize(
    "symbol",
    [
        "",
        "crossrun",
        "crossrun.v1.Nobody",
        "crossrun.v1.Vision.Guess",
        "crossrun.v1.ClassifyRequest.nothing",
        "nobody.Service.Method",
    ],
)
def test_what_is_not_defined_is_not_found(ask: Any, symbol: str) -> None:
    """A name that means nothing is answered as such, and the stream goes on."""
    assert ask(file_containing_symbol=symbol).error_response.error_code == NOT_FOUND


def test_a_call_can_be_made_of_what_is_described(channel: grpc.Channel) -> None:
    """A client that has nothing but the address calls with messages made of what it is told."""
    pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    for name in SERVICES:
        assert pool.FindServiceByName(name).methods
    method = pool.FindMethodByName("inference.GRPCInferenceService.ModelConfig")
    request, response = map(GetMessageClass, (method.input_type, method.output_type))
    call = channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request.SerializeToString,
        response.FromString,
    )
    answer: Any = call(request(name="simple"))
    assert answer.config.max_batch_size == 8
