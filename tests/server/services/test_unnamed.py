"""Classify and Detect without the name of a model: the only one that can do it answers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from crossrun.oip import grpc_service_pb2 as oip
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub
from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionStub
from tests.support import detectors, models
from tests.support.pictures import plain
from tests.support.requests import refusal
from tests.support.running import serving

PICTURE = plain(255, 0, 0)
CLASSIFY, DETECT = pb.ClassifyRequest(images=[PICTURE]), pb.DetectRequest(images=[PICTURE])


@pytest.fixture(scope="module")
def stub(
    front: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[VisionStub, grpc.Channel]]:
    """Of a server of one classifier, of one detector, and of one model of neither kind."""
    root = tmp_path_factory.mktemp("models")
    models.write(root, "gather", models.gather())
    models.write(root, "colours", models.colours(), models.COLOURS_CONFIG, ["red", "green", "blue"])
    config = detectors.FINDER + "version_policy { all {} }"
    for version in (1, 3):
        models.write(root, "finder", detectors.finder(), config, detectors.LABELS, version=version)
    with (
        serving(root, root.parent / f"{front}.log", "--front", front) as running,
        grpc.insecure_channel(running.address) as channel,
    ):
        yield VisionStub(channel), channel


@pytest.mark.parametrize("count", [1, 2])
def test_the_only_model_that_can_do_it_answers(stub: Any, count: int) -> None:
    """A classifier classifies and a detector, in its newest version, detects: of one, of more."""
    vision, _ = stub
    classified = vision.Classify(pb.ClassifyRequest(images=[PICTURE] * count))
    detected = vision.Detect(pb.DetectRequest(images=[PICTURE] * count))
    assert (classified.model, len(classified.results)) == ("colours", count)
    assert (detected.model, detected.version) == ("finder", "3")


def test_a_version_chooses_among_the_models_that_have_it(stub: Any) -> None:
    """No other version answers in its place."""
    vision, _ = stub
    detect = pb.DetectRequest(images=[PICTURE], version="1")
    assert (vision.Detect(detect).model, vision.Detect(detect).version) == ("finder", "1")
    assert refusal(vision.Classify, pb.ClassifyRequest(images=[PICTURE], version="7")) == (
        StatusCode.NOT_FOUND,
        "the request names no model, and none of version '7' is loaded",
    )


def test_tensors_need_the_name_of_a_model(stub: Any) -> None:
    """The protocol of tensors has no such choice, and Triton refuses it, too."""
    _, channel = stub
    code, details = refusal(GRPCInferenceServiceStub(channel).ModelInfer, oip.ModelInferRequest())
    assert code == StatusCode.NOT_FOUND
    assert details == "Request for unknown model: '' is not found"


def test_where_several_can_do_it_or_none_they_are_named(
    channel: grpc.Channel, tmp_path: Path
) -> None:
    """The message names those that could be meant."""
    assert refusal(VisionStub(channel).Detect, DETECT)[0] == StatusCode.NOT_FOUND
    details = refusal(VisionStub(channel).Detect, DETECT)[1]
    assert details.startswith("the request names no model, and none of these detect objects: ")
    assert "colours" in details
    for name in ("a", "b"):
        models.write(tmp_path / "m", name, models.colours(), models.COLOURS_CONFIG, ["r", "g", "b"])
    models.write(tmp_path / "m", "gather", models.gather())
    with (
        serving(tmp_path / "m", tmp_path / "log") as running,
        grpc.insecure_channel(running.address) as two,
    ):
        assert refusal(VisionStub(two).Classify, CLASSIFY) == (
            StatusCode.NOT_FOUND,
            "the request names no model, and several classify pictures: a, b",
        )


def test_a_single_model_says_itself_why_it_cannot(tmp_path: Path) -> None:
    """That there is no other does not make it fit."""
    models.write(tmp_path / "m", "gather", models.gather())
    with (
        serving(tmp_path / "m", tmp_path / "log") as running,
        grpc.insecure_channel(running.address) as one,
    ):
        code, details = refusal(VisionStub(one).Classify, CLASSIFY)
    assert code == StatusCode.INVALID_ARGUMENT
    assert details.startswith("'gather' takes no pictures")
