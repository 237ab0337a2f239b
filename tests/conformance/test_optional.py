"""gRPC's own health and reflection services: not of the protocol, checked where they are."""

from typing import Any

import grpc
import pytest
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from tests.conformance.target import LIMIT, NOBODY, SERVICE, Target, code_of, failure

SERVING = health_pb2.HealthCheckResponse.SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.fixture
def health(target: Target) -> Any:
    """The health service, where there is one."""
    stub: Any = health_pb2_grpc.HealthStub(target.channel)
    try:
        stub.Check(health_pb2.HealthCheckRequest(), timeout=LIMIT)
    except grpc.RpcError as error:
        if code_of(error) == StatusCode.UNIMPLEMENTED:
            pytest.skip("the target has no grpc.health.v1.Health")
    return stub


@pytest.fixture
def reflection(target: Target) -> ProtoReflectionDescriptorDatabase:
    """The reflection service, where there is one."""
    database = ProtoReflectionDescriptorDatabase(target.channel)
    try:
        database.get_services()
    except grpc.RpcError as error:
        if code_of(error) == StatusCode.UNIMPLEMENTED:
            pytest.skip("the target has no grpc.reflection.v1alpha.ServerReflection")
        raise
    return database


def test_health_checks_the_server(health: Any) -> None:
    """Check of "" is SERVING."""
    assert health.Check(health_pb2.HealthCheckRequest(), timeout=LIMIT).status == SERVING


def test_health_watches_the_server(health: Any) -> None:
    """Watch of "" tells at once that it is SERVING."""
    updates = health.Watch(health_pb2.HealthCheckRequest(), timeout=LIMIT)
    try:
        assert next(updates).status == SERVING
    except grpc.RpcError as error:
        if code_of(error) != StatusCode.UNIMPLEMENTED:
            raise
        pytest.skip("the target has no Watch")
    finally:
        updates.cancel()


def test_health_of_an_unknown_service(health: Any) -> None:
    """Check of a service that is not there is NOT_FOUND, as gRPC's health protocol has it."""
    message = health_pb2.HealthCheckRequest(service=NOBODY)
    code, _ = failure(lambda: health.Check(message, timeout=LIMIT), "an unknown service is healthy")
    assert code == StatusCode.NOT_FOUND


def test_reflection_lists_the_service(reflection: ProtoReflectionDescriptorDatabase) -> None:
    """The protocol's service is among those listed."""
    assert SERVICE in reflection.get_services()


def test_reflection_describes_the_service(reflection: ProtoReflectionDescriptorDatabase) -> None:
    """The service's description holds the protocol's six RPCs."""
    description = reflection.FindFileContainingSymbol(SERVICE)
    methods = {method.name for service in description.service for method in service.method}
    assert methods >= {
        "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer",
    }  # fmt: skip
