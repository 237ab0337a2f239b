"""Detect over a real connection: what is found, where in the picture, and what is refused."""

from collections.abc import Iterator

import grpc
import pytest
from PIL import Image

from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionStub
from tests import detectors
from tests.conftest import Server, serving
from tests.test_vision import encoded

RED, GREEN, BLUE = (255, 0, 0), (0, 204, 0), (0, 0, 153)
HOW = [pb.RESIZE_STRETCH, pb.RESIZE_LETTERBOX, pb.RESIZE_CROP]


@pytest.fixture(scope="module")
def detecting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of the tiny detectors."""
    root = detectors.write_all(tmp_path_factory.mktemp("detectors"))
    with serving(root, tmp_path_factory.mktemp("log") / "log") as server:
        yield server


@pytest.fixture
def stub(detecting: Server) -> Iterator[VisionStub]:
    with grpc.insecure_channel(detecting.address) as channel:
        yield VisionStub(channel)


def scene(size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Red above, green in the middle, blue below, on grey."""
    image = Image.new("RGB", size, (90, 90, 90))
    for colour, box in zip((RED, GREEN, BLUE), boxes(size), strict=True):
        image.paste(colour, box)
    return image


def boxes(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    width, height = size
    shares = (0.25, 0.15, 0.75, 0.3), (0.375, 0.45, 0.5, 0.6), (0.15, 0.7, 0.4, 0.8)
    return [
        (int(left * width), int(top * height), int(right * width), int(bottom * height))
        for left, top, right, bottom in shares
    ]


def detect(stub: VisionStub, *pictures: bytes, **fields: object) -> pb.DetectResponse:
    request = pb.DetectRequest(images=pictures, **{"model": "finder", **fields})  # type: ignore[arg-type]
    response: pb.DetectResponse = stub.Detect(request)
    return response


def corners(one: pb.Detection) -> tuple[float, float, float, float]:
    return one.box.xmin, one.box.ymin, one.box.xmax, one.box.ymax


@pytest.mark.parametrize("resize", HOW)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_boxes_are_those_of_the_picture(stub: VisionStub, kind: str, resize: int) -> None:
    """However it is brought to size, each object has its label, score and place, best first."""
    size = (640, 480)
    (found,) = detect(stub, encoded(scene(size), kind), resize=resize).results
    assert (found.width, found.height) == size
    assert [(d.index, d.label) for d in found.detections] == [(0, "red"), (1, "green"), (2, "blue")]
    for one, box, score in zip(found.detections, boxes(size), (1, 0.8, 0.6), strict=True):
        assert one.score == pytest.approx(score, abs=0.03)
        assert corners(one) == pytest.approx(box, abs=11)
