"""What a server tells of where its models run."""

import os
import subprocess
from pathlib import Path

import grpc
import numpy as np

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip import model_config_pb2 as config_pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.v1 import providers_pb2
from crossrun.v1.providers_pb2_grpc import ProvidersStub
from tests.support.running import BIN, run_command

CPU, CUDA, OPENVINO = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "OpenVINO"))


def refused(repository: Path, *options: str, environment: Path = BIN) -> str:
    """Start a server that must not start; gives the last line it wrote."""
    ended = run_command(
        [
            str(environment / "crossrun-serve"),
            str(repository),
            "--port",
            "0",
            "--no-allow-http",
            *options,
        ]
    )
    assert ended.returncode == 1, ended.stdout
    assert ended.stdout == ""
    return ended.stderr.splitlines()[-1]


def placements(address: str, model: str = "") -> dict[str, providers_pb2.Placement]:
    with grpc.insecure_channel(address) as channel:
        request = providers_pb2.ListPlacementsRequest(model=model)
        found = ProvidersStub(channel).ListPlacements(request).placements
    return {placement.model: placement for placement in found}


def running(placed: providers_pb2.Placement) -> dict[str, int]:
    return {count.provider: count.nodes for count in placed.running}


def infer(address: str, model: str, x: np.ndarray) -> np.ndarray:
    message = pb.ModelInferRequest(model_name=model)
    message.inputs.add(name="x", datatype="FP32", shape=x.shape)
    message.raw_input_contents.append(x.tobytes())
    with grpc.insecure_channel(address) as channel:
        reply = Stub(channel).ModelInfer(message)
    return np.frombuffer(reply.raw_output_contents[0], np.float32)


def config_of(address: str, model: str) -> config_pb.ModelConfig:
    with grpc.insecure_channel(address) as channel:
        reply = Stub(channel).ModelConfig(pb.ModelConfigRequest(name=model))
    config: config_pb.ModelConfig = reply.config
    return config


def listing(environment: Path, **variables: str) -> str:
    return subprocess.run(
        [str(environment / "crossrun-serve"), "--list-providers"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | variables,
    ).stdout
