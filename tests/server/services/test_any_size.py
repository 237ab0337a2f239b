"""Models that leave the height and the width of their pictures free, over a real connection."""

import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import onnx
import pytest
from grpc import StatusCode
from PIL import Image

from crossrun.oip import grpc_service_pb2 as oip
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_bench.errors import BenchError
from crossrun_bench.models.repository import read_model
from crossrun_server.errors import LoadError
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.vision import boxes
from crossrun_server.vision.boxes import Size
from tests.support import detectors, models
from tests.support.pictures import ORIENTATION, RED, encoded, scene
from tests.support.pictures import boxes as boxes_of
from tests.support.requests import refusal
from tests.support.running import ON_CPU, serving
from tests.support.vision import HOW, corners, detect, labels

ONE = (1, "height", "width", 3)
LABELLED = """
output [
  { name: "detection_classes" data_type: TYPE_INT64 dims: [1, 3] label_filename: "labels.txt" }
]
"""
NARROWED = """
max_batch_size: 0
input [{ name: "image" data_type: TYPE_UINT8 dims: [1, 48, 64, 3] }]
"""
SMALL = (
    'max_batch_size: 4 parameters { key: "detection.longest_side" value { string_value: "100" } }'
)
SCALED = {"crossrun.preprocessing": '{"scale": 1.0, "offset": 0.0}'}
SIZES = [(640, 480), (90, 300), (90, 300), (301, 97), (40, 40)]


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[grpc.Channel]:
    root = tmp_path_factory.mktemp("any_size")
    fp32 = detectors.any_size(ONE, onnx.TensorProto.FLOAT)
    onnx.helper.set_model_props(fp32, SCALED)
    for name, graph, config in (
        ("batched", detectors.any_size(), "max_batch_size: 4"),
        ("one", detectors.any_size(ONE), LABELLED),
        ("fp32", fp32, ""),
        ("narrowed", detectors.any_size(ONE), NARROWED),
        ("small", detectors.any_size(), SMALL),
        ("low", detectors.any_size((1, 48, "width", 3)), ""),
        ("strided", detectors.strided(), "max_batch_size: 4"),
        ("colours", models.colours_of_any_size(), "max_batch_size: 4"),
        ("first", models.colours_of_any_size((1, 3, "height", "width")), ""),
    ):
        labels = detectors.LABELS if config == LABELLED else None
        models.write(root, name, graph, f"{config}\n{models.ONE_AT_A_TIME}", labels=labels)
    models.write(root, "frozen", detectors.frozen())  # without any config
    with (
        serving(root, root.parent / "any_size.log") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield channel


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> VisionStub:
    return VisionStub(channel)


@pytest.mark.parametrize("model", ["batched", "one", "fp32", "frozen"])
def test_a_detector_is_asked_at_the_size_of_the_picture(stub: VisionStub, model: str) -> None:
    """Pictures of several sizes in one request: each has its own boxes, to the pixel, in order."""
    reply = detect(stub, *(encoded(scene(size)) for size in SIZES), model=model)
    for size, found in zip(SIZES, reply.results, strict=True):
        assert (found.width, found.height) == size
        assert [one.index for one in found.detections] == [0, 1, 2]
        for one, box in zip(found.detections, boxes_of(size), strict=True):
            assert corners(one) == pytest.approx(box, abs=1e-3)


@pytest.mark.parametrize(("size", "runs"), [((50, 50), 1), ((100, 50), 2), ((100, 75), 4)])
def test_large_pictures_share_no_run(
    stub: VisionStub, channel: grpc.Channel, size: tuple[int, int], runs: int
) -> None:
    """The pictures of a run have no more pixels together than a single picture may have."""

    def executions() -> int:
        statistics = Stub(channel).ModelStatistics(oip.ModelStatisticsRequest(name="small"))
        return int(statistics.model_stats[0].execution_count)

    before = executions()
    reply = detect(stub, *[encoded(scene(size))] * 4, model="small")
    assert executions() - before == runs
    assert len({str(found) for found in reply.results}) == 1


def test_labels_and_options_are_as_ever(stub: VisionStub) -> None:
    """A request may choose detections by label, score and number."""
    picture = encoded(scene())
    assert labels(detect(stub, picture, model="one", min_score=0.7)) == ["red", "green"]
    assert labels(detect(stub, picture, model="one", labels=["blue"])) == ["blue"]


def test_a_turned_picture_goes_in_upright(stub: VisionStub) -> None:
    """The size is that of the picture as people see it."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    for kind in ("PNG", "JPEG"):
        turned = encoded(scene().transpose(Image.Transpose.ROTATE_90), kind, exif=exif)
        (found,) = detect(stub, turned, model="one").results
        assert (found.width, found.height) == (640, 480)
        assert corners(found.detections[0]) == pytest.approx(boxes_of((640, 480))[0], abs=2)


@pytest.mark.parametrize("resize", HOW)
def test_every_resize_finds_it_where_it_is(stub: VisionStub, resize: int) -> None:
    """Stretched or letterboxed, a picture keeps its pixels; cropped, its middle is enlarged."""
    (found,) = detect(stub, encoded(scene()), model="one", resize=resize).results
    for one, box in zip(found.detections, boxes_of((640, 480)), strict=True):
        assert corners(one) == pytest.approx(box, abs=1 if resize == pb.RESIZE_CROP else 1e-3)


@pytest.mark.parametrize(
    ("model", "off"), [("narrowed", 11), ("small", 7.5), ("low", 11)]
)  # pixels of the picture that one of the input stands for, and a little
def test_a_size_that_is_fixed_or_bounded_is_kept(stub: VisionStub, model: str, off: float) -> None:
    """By dims, by detection.longest_side, or one side by the graph: boxes are the picture's."""
    (found,) = detect(stub, encoded(scene()), model=model).results
    edges = [edge for one in found.detections for edge in corners(one)]
    expected = [edge for box in boxes_of((640, 480)) for edge in box]
    assert edges == pytest.approx(expected, abs=off)
    assert edges != pytest.approx(expected, abs=1)


def test_the_size_of_an_input_follows_the_picture() -> None:
    """A picture keeps its size, or its proportions if a side is too long or fixed."""
    for free, picture, expected in (
        ((-1, -1), (480, 640), (480, 640)),
        ((-1, -1), (3000, 4000), (1536, 2048)),
        ((-1, -1), (1, 60_000), (1, 2048)),
        ((300, -1), (600, 800), (300, 400)),
        ((-1, 300), (600, 800), (225, 300)),
        ((300, -1), (1, 60_000), (300, 2048)),
        ((300, 200), (1, 60_000), (300, 200)),
    ):
        assert boxes.settled(Size(*free), Size(*picture), 2048) == expected


def test_a_size_that_the_model_cannot_take_is_told(stub: VisionStub) -> None:
    """The error names the position of a picture whose size the graph cannot take."""
    good, bad = (encoded(Image.new("RGB", (64, side), RED)) for side in (48, 50))
    assert labels(detect(stub, good, model="strided")) == ["0"]
    code, details = refusal(lambda: detect(stub, good, bad, model="strided"))
    assert code == StatusCode.INVALID_ARGUMENT
    assert "images[1]: 'strided' leaves the size of its pictures free and fails on 50 x" in details
    assert labels(detect(stub, good, model="strided")) == ["0"]


def test_a_classifier_of_any_size_says_how_it_is_fixed(stub: VisionStub, tmp_path: Path) -> None:
    """The lines that the error proposes, written into config.pbtxt, make the model answer."""
    picture = encoded(Image.new("RGB", (30, 20), RED))
    request = pb.ClassifyRequest(model="colours", images=[picture])
    code, details = refusal(lambda: stub.Classify(request))
    assert code == StatusCode.INVALID_ARGUMENT
    told = re.fullmatch(r"'colours' leaves the size of its pictures free, .* as in (.*)", details)
    assert told
    models.write(
        tmp_path / "fixed", "colours", models.colours_of_any_size(), told[1] + models.ONE_AT_A_TIME
    )
    with (
        serving(tmp_path / "fixed", tmp_path / "log") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        reply = VisionStub(channel).Classify(request)
    assert reply.results[0].classes[0].index == 0


def test_channels_that_come_first_are_told(stub: VisionStub) -> None:
    """The error says what is expected and what the model takes."""
    request = pb.ClassifyRequest(model="first", images=[encoded(scene())])
    code, details = refusal(lambda: stub.Classify(request))
    assert code == StatusCode.INVALID_ARGUMENT
    assert (
        "[batch, height, width, 3], the channels last, and it takes 'image' UINT8 [1, 3," in details
    )
    assert details.endswith("or let crossrun-export onnx make it a model of pictures")


def test_what_gives_no_detections_is_told_with_what_it_gives(stub: VisionStub) -> None:
    """The error names the outputs, their datatypes and their shapes."""
    code, details = refusal(lambda: detect(stub, encoded(scene()), model="colours"))
    assert code == StatusCode.INVALID_ARGUMENT
    assert details.endswith("it returns 'scores' FP32 [-1, 3]")


def test_the_bench_measures_none_of_any_size(tmp_path: Path) -> None:
    """An output that cannot be compared is refused, with its shape."""
    models.write(tmp_path, "colours", models.colours_of_any_size())
    with pytest.raises(BenchError, match=r"one size, and it leaves \['batch', 'height', 'width'"):
        read_model(tmp_path, "colours")


@pytest.mark.parametrize("value", ["0", "-1", "1e3", "²", ""])
def test_a_longest_side_that_is_none_stops_the_load(value: str, tmp_path: Path) -> None:
    """The error names the parameter and what was expected."""
    models.write(tmp_path, "small", detectors.any_size(), SMALL.replace("100", value))
    with pytest.raises(LoadError, match=r"longest_side' is .*, expected pixels, 1 or more"):
        loader.load(ModelSource(tmp_path / "small"), ON_CPU)
