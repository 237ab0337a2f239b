"""Pictures that wait to be decoded, because others are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode
from PIL import Image

from crossrun.oip import grpc_service_pb2 as oip
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_server import cores
from tests.support import models
from tests.support.control import load
from tests.support.pictures import encoded
from tests.support.requests import code_of
from tests.support.running import Server, serving

LARGE = encoded(Image.new("RGB", (4000, 4000), (255, 0, 0)))  # decoding it takes a while
MANY = 3 * cores.available()  # more than are decoded at once


@pytest.fixture
def served(front: str, tmp_path: Path) -> Iterator[Server]:
    models.write(tmp_path / "models", "colours", models.colours(), "max_batch_size: 4")
    options = "--front", front, "--model-control-mode", "explicit", "--load-model", "*"
    with serving(tmp_path / "models", tmp_path / "log", *options) as running:
        yield running


def asked(channel: grpc.Channel, picture: bytes, timeout: float | None = None) -> Any:
    request = pb.ClassifyRequest(model="colours", images=[picture])
    return VisionStub(channel).Classify.future(request, timeout=timeout)


def test_who_is_late_costs_no_run(served: Server) -> None:
    """A picture is not decoded once nobody waits for it."""
    with grpc.insecure_channel(served.address) as channel:
        large = [asked(channel, LARGE) for _ in range(MANY)]
        late = asked(channel, LARGE, timeout=0.05)
        # The server knows at once that it will be late, if it has decoded one before.
        assert code_of(late) in {StatusCode.DEADLINE_EXCEEDED, StatusCode.RESOURCE_EXHAUSTED}
        for call in large:
            assert call.result().results[0].classes[0].index == 0
        stub = GRPCInferenceServiceStub(channel)
        (found,) = stub.ModelStatistics(oip.ModelStatisticsRequest(name="colours")).model_stats
    assert found.inference_count == MANY


def test_a_swap_loses_none_of_them(served: Server) -> None:
    """Those that have not had their turn when their model is replaced run on it after."""
    with grpc.insecure_channel(served.address) as channel:
        large = [asked(channel, LARGE) for _ in range(MANY)]
        large[0].result()
        load(GRPCInferenceServiceStub(channel), "colours", {"max_batch_size": 2}).result()
        assert all(call.result().results[0].classes[0].index == 0 for call in large)


def test_all_are_answered_before_the_server_ends(served: Server) -> None:
    """A stop waits for pictures that have not had their turn."""
    with grpc.insecure_channel(served.address) as channel:
        large = [asked(channel, LARGE) for _ in range(MANY)]
        large[0].result()
        assert served.stop() == 0
        assert all(call.result().results[0].classes[0].index == 0 for call in large)
