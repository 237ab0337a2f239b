"""A repository of versions that tell themselves apart, and a client that loads and unloads them."""

import json
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from tests.support import models
from tests.support.requests import outcome
from tests.support.running import Server

SERVING, NOT_SERVING = 1, 2  # of grpc.health.v1

BOTH_VERSIONS = "max_batch_size: 8\nversion_policy { all {} }"
State = tuple[str, str]


def two_versions(root: Path, name: str) -> None:
    """Write a model of two versions; each multiplies by its number."""
    for version in (1, 2):
        models.write(root, name, models.scale(version), version=version)


def connected(server: Server) -> grpc.Channel:
    return grpc.insecure_channel(server.address)


def load(stub: Stub, name: str, config: object = None, **files: bytes) -> Any:
    """Ask for a load and come back at once."""
    message = pb.RepositoryModelLoadRequest(model_name=name)
    if config is not None:
        text = config if isinstance(config, str) else json.dumps(config)
        message.parameters["config"].string_param = text
    for path, data in files.items():
        message.parameters[f"file:{path}"].bytes_param = data
    return stub.RepositoryModelLoad.future(message)


def unload(stub: Stub, name: str) -> Any:
    return stub.RepositoryModelUnload.future(pb.RepositoryModelUnloadRequest(model_name=name))


def index(stub: Stub, name: str, *, ready: bool = False) -> dict[str, State]:
    """Version → state and reason, of one model."""
    answer = stub.RepositoryIndex(pb.RepositoryIndexRequest(ready=ready))
    return {line.version: (line.state, line.reason) for line in answer.models if line.name == name}


def until(stub: Stub, name: str, version: str, state: str, reason: str = "") -> str:
    """Wait for the index to say so; gives the reason. The test's own limit ends the wait."""
    while True:
        found = index(stub, name).get(version, ("", ""))
        if found[0] == state and found[1].startswith(reason):
            return found[1]
        time.sleep(0.02)


def multiply(stub: Stub, name: str, version: str = "") -> Any:
    """Ask a model for three times its version."""
    message = pb.ModelInferRequest(model_name=name, model_version=version)
    message.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    message.raw_input_contents.append(np.float32(3).tobytes())
    return stub.ModelInfer.future(message)


def product(call: Any) -> float:
    return float(np.frombuffer(call.result().raw_output_contents[0], np.float32)[0])


def ready(stub: Stub, name: str) -> bool:
    answer: bool = stub.ModelReady(pb.ModelReadyRequest(name=name)).ready
    return answer


def watch(channel: grpc.Channel, name: str) -> Any:
    health: Any = health_pb2_grpc.HealthStub(channel)
    return health.Watch(health_pb2.HealthCheckRequest(service=name))


def check_refused(stub: Stub, name: str) -> None:
    for call in (load(stub, name), unload(stub, name)):
        code, details = outcome(call)
        assert code == StatusCode.UNAVAILABLE
        assert "explicit model load / unload is not allowed if polling is enabled" in details
    assert ready(stub, name)


def max_batch_size(stub: Stub, name: str) -> int:
    answer = stub.ModelConfig(pb.ModelConfigRequest(name=name))
    size: int = answer.config.max_batch_size
    return size
