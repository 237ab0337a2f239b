"""Swapping models under load: requests on a fixed schedule, and none of them fails."""

import itertools
import json
import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.v1 import providers_pb2, vision_pb2
from crossrun.v1.providers_pb2_grpc import ProvidersStub
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_server.runtime import providers
from crossrun_server.runtime.session import Session
from tests.support import models
from tests.support.open_loop import EVERY, open_loop
from tests.support.pictures import plain
from tests.support.running import build, serving

SWAPS = 24
QUEUE = {"default_queue_policy": {"max_queue_size": 10_000}}  # a slow machine refuses nobody


def wait_for_more(calls: list[Any], count: int = 5) -> None:
    """Let so many more requests be sent, so that each swap has some before and after it."""
    wanted = len(calls) + count
    while len(calls) < wanted:
        time.sleep(EVERY)


def reload(stub: Stub, name: str, config: dict[str, Any]) -> None:
    message = pb.RepositoryModelLoadRequest(model_name=name)
    message.parameters["config"].string_param = json.dumps(config | {"dynamic_batching": QUEUE})
    stub.RepositoryModelLoad(message)


def multiply(stub: Stub, value: int) -> Any:
    message = pb.ModelInferRequest(model_name="m", id=str(value))
    message.inputs.add(name="x", datatype="FP32", shape=[1, 1])
    message.raw_input_contents.append(np.float32(value).tobytes())
    return stub.ModelInfer.future(message)


def check_product(answer: pb.ModelInferResponse) -> str:
    """Whoever sent a number gets it back times the version that answered; gives the version."""
    product = np.frombuffer(answer.raw_output_contents[0], np.float32)
    assert product.tolist() == [int(answer.id) * int(answer.model_version)]
    return answer.model_version


def test_a_swap_under_load_loses_nobody(tmp_path: Path) -> None:
    """Through two dozen swaps of version and batch size each request is answered, and rightly."""
    for version in (1, 2):
        models.write(tmp_path / "models", "m", models.scale(version), version=version)
    options = ("--model-control-mode", "explicit", "--load-model", "*")
    with (
        serving(tmp_path / "models", tmp_path / "log", *options) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = Stub(channel)
        with open_loop(lambda number: multiply(stub, number)) as calls:
            for swap in range(SWAPS):
                size, version = 4 + swap, 1 + swap % 2
                policy = {"specific": {"versions": [version]}}
                reload(stub, "m", {"max_batch_size": size, "version_policy": policy})
                config = stub.ModelConfig(pb.ModelConfigRequest(name="m")).config
                assert config.max_batch_size == size
                assert check_product(multiply(stub, 3).result()) == str(version)
                wait_for_more(calls)
        assert {check_product(call.result()) for call in calls} == {"1", "2"}
        assert server.stop() == 0


X = np.random.default_rng(0).uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)
SAMPLES = [{"x": X * share} for share in (-1, -0.5, 0.5, 1)]
PROVIDERS = {"cpu": "CPUExecutionProvider", "openvino": "OpenVINOExecutionProvider"}
FILES = {"model.onnx": 3, "int8.onnx": 9}  # nodes: the quantized one has (de)quantizers


def write_precisions(root: Path) -> dict[str, np.ndarray]:
    """Write two versions of `conv`, each in FP32 and in int8; gives what each version answers."""
    answers = {}
    for version in (1, 2):
        net = models.conv(version)
        models.write(root, "conv", net, version=version)
        folder = root / "conv" / str(version)
        onnx.save(models.int8(net, SAMPLES), folder / "int8.onnx")
        session = Session(folder / "model.onnx", providers.parse("cpu"))
        answers[str(version)] = session.run({"x": X}, ["y"])["y"].ravel()
    return answers


def convolve(stub: Stub) -> Any:
    message = pb.ModelInferRequest(model_name="conv")
    message.inputs.add(name="x", datatype="FP32", shape=X.shape)
    message.raw_input_contents.append(X.tobytes())
    return stub.ModelInfer.future(message)


def running(channel: grpc.Channel) -> dict[str, int]:
    request = providers_pb2.ListPlacementsRequest(model="conv")
    placements = ProvidersStub(channel).ListPlacements(request).placements
    found = [{count.provider: count.nodes for count in placed.running} for placed in placements]
    assert all(one == found[0] for one in found)  # one for each lane
    return found[0]


def test_provider_precision_and_version_swap_under_load(tmp_path: Path) -> None:
    """Between CPU and OpenVINO, FP32 and int8, 1 and 2: no request fails, each answer is right."""
    answers = write_precisions(tmp_path / "models")
    combinations = list(itertools.product(PROVIDERS, FILES, answers))
    options = ("--provider", "cpu", "--model-control-mode", "explicit", "--load-model", "*")
    with (
        serving(
            tmp_path / "models", tmp_path / "log", *options, environment=build("openvino")
        ) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = Stub(channel)
        with open_loop(lambda _: convolve(stub)) as calls:
            for provider, file, version in combinations * (SWAPS // len(combinations)):
                chosen = {
                    "max_batch_size": 8,
                    "default_model_filename": file,
                    "version_policy": {"specific": {"versions": [version]}},
                    "parameters": {"providers": {"string_value": provider}},
                }
                reload(stub, "conv", chosen)
                assert running(channel) == {PROVIDERS[provider]: FILES[file]}
                assert convolve(stub).result().model_version == version
                wait_for_more(calls)
        for answer in (call.result() for call in calls):
            got = np.frombuffer(answer.raw_output_contents[0], np.float32)
            np.testing.assert_allclose(got, answers[answer.model_version], rtol=0.05)
        assert {call.result().model_version for call in calls} == {"1", "2"}
        assert server.stop() == 0


@pytest.mark.parametrize("pictures", [1, 4])
def test_pictures_being_decoded_meet_no_closed_model(tmp_path: Path, pictures: int) -> None:
    """A request that had got its model before the swap runs on it after, however late."""
    models.write(tmp_path / "models", "colours", models.colours(), "max_batch_size: 1")
    options = ("--model-control-mode", "explicit", "--load-model", "*")
    request = vision_pb2.ClassifyRequest(model="colours", images=[plain(255, 0, 0)] * pictures)
    with (
        serving(tmp_path / "models", tmp_path / "log", *options) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub, vision = Stub(channel), VisionStub(channel)
        with open_loop(lambda _: vision.Classify.future(request)) as calls:
            for size in range(1, 1 + SWAPS):
                reload(stub, "colours", {"max_batch_size": 1 + size % 2})
                wait_for_more(calls, 2)
        assert all(len(call.result().results) == pictures for call in calls)
