"""Detect with tiles over a real connection: small objects, cut ones, and limits, on both fronts."""

from collections.abc import Iterator

import grpc
import pytest
from grpc import StatusCode
from PIL import Image

from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionStub
from tests.support import detectors, models
from tests.support.pictures import BLUE, GREEN, RED, encoded
from tests.support.requests import refusal
from tests.support.running import serving
from tests.support.vision import HOW, corners, detect, labels

Place = tuple[int, int, int, int]  # left, top, right, bottom
GREY = (90, 90, 90)
FOUR = pb.Tiles(columns=4, rows=4)
SMALL, LARGE, LINE = (100, 100, 104, 104), (200, 150, 440, 330), (520, 0, 524, 480)


@pytest.fixture(scope="module")
def stub(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[VisionStub]:
    root = tmp_path_factory.mktemp("models")
    models.write(
        root, "finder", detectors.finder(), detectors.FINDER + detectors.OPTIONS,
        labels=detectors.LABELS,
    )  # fmt: skip
    models.write(
        root, "localizer", detectors.localizer(), detectors.LOCALIZER, labels=detectors.LABELS
    )
    models.write(root, "free", detectors.any_size(), "max_batch_size: 4")
    models.write(root, "strided", detectors.strided(), "max_batch_size: 4")
    log = tmp_path_factory.mktemp("log") / "log"
    options = ("--front", front, "--max-request-pictures", "34")
    with serving(root, log, *options) as running, grpc.insecure_channel(running.address) as channel:
        yield VisionStub(channel)


def picture(*things: tuple[tuple[int, int, int], Place], kind: str = "PNG") -> bytes:
    """640 x 480 pixels with coloured boxes; a pixel of the model's input is ten of them."""
    image = Image.new("RGB", (640, 480), GREY)
    for colour, box in things:
        image.paste(colour, box)
    return encoded(image, kind)


def found(reply: pb.DetectResponse) -> list[pb.Detection]:
    (one,) = reply.results
    return list(one.detections)


@pytest.mark.parametrize("resize", HOW)
def test_tiles_show_what_is_too_small_in_the_whole(stub: VisionStub, resize: int) -> None:
    """An object of four pixels is found, where it is, beside one that no tile holds."""
    asked = picture((RED, SMALL), (GREEN, LARGE))
    assert labels(detect(stub, asked, resize=resize)) == ["green"]
    reply = detect(stub, asked, resize=resize, tiles=FOUR)
    small = next(one for one in found(reply) if one.label == "red")
    assert corners(small) == pytest.approx(SMALL, abs=4)
    assert labels(reply).count("red") == 1
    assert (reply.results[0].width, reply.results[0].height) == (640, 480)


def test_an_object_that_tiles_cut_is_one_object(stub: VisionStub) -> None:
    """Its box is that of the whole picture, and no piece of it is left."""
    for cut in (FOUR, pb.Tiles(columns=2, rows=2), pb.Tiles(columns=3, rows=1, overlap=0.5)):
        (one,) = found(detect(stub, picture((GREEN, LARGE)), tiles=cut))
        assert corners(one) == pytest.approx(LARGE, abs=11)


def test_objects_of_one_class_are_found_in_their_tiles(stub: VisionStub) -> None:
    """Where the model finds one in each look, tiles make them several."""
    places = [(60, 60, 80, 80), (560, 60, 580, 80), (60, 400, 80, 420)]
    reply = detect(
        stub, picture(*((RED, box) for box in places)), tiles=pb.Tiles(columns=2, rows=2)
    )
    whole = [one for one in found(reply) if one.box.xmax - one.box.xmin > 100]
    each = [one for one in found(reply) if one not in whole]
    assert len(whole) == 1
    for one, box in zip(sorted(each, key=corners_key), sorted(places, key=key), strict=True):
        assert corners(one) == pytest.approx(box, abs=6)


def key(box: Place) -> tuple[int, int]:
    return round(box[1] / 100), box[0]


def corners_key(one: pb.Detection) -> tuple[int, float]:
    return round(one.box.ymin / 100), one.box.xmin


def test_what_is_asked_for_is_chosen_of_the_merged(stub: VisionStub) -> None:
    """By score, label and number, as without tiles; what a tile cuts takes nobody's place."""
    asked = picture((RED, LINE), (BLUE, (508, 240, 518, 250)), (GREEN, LARGE))
    assert labels(detect(stub, asked, tiles=FOUR)) == ["green", "blue"]
    for wanted, expected in (
        ({"min_score": 0.7}, ["green"]),
        ({"labels": ["blue"]}, ["blue"]),
        ({"labels": ["blue", "red"], "max_detections": 1}, ["blue"]),
        ({"max_detections": 1}, ["green"]),
        ({"labels": ["blue"], "min_score": 0.7}, []),
    ):
        assert labels(detect(stub, asked, tiles=FOUR, **wanted)) == expected, wanted
    lonely = picture((RED, LINE), (BLUE, (508, 240, 518, 250)))
    assert labels(detect(stub, lonely, tiles=FOUR, max_detections=1)) == ["blue"]


def test_the_overlap_of_one_object_may_be_chosen(stub: VisionStub) -> None:
    """For what tiles show even if the model does not let it be chosen."""
    asked = picture((GREEN, (40, 40, 140, 130)))
    for model in ("finder", "localizer"):
        for iou, count in ((0.3, 1), (1, 2)):
            reply = detect(
                stub, asked, model=model, tiles=pb.Tiles(columns=2, rows=2), iou_threshold=iou
            )
            assert len(found(reply)) == count, (model, iou)


def test_several_pictures_have_their_own_objects(stub: VisionStub) -> None:
    """In the order of the request, each merged by itself, JPEGs too."""
    asked = [picture((colour, SMALL), kind=kind) for colour, kind in ((RED, "PNG"), (BLUE, "JPEG"))]
    reply = detect(stub, *asked, tiles=FOUR, min_score=0.2)
    assert [[one.label for one in each.detections] for each in reply.results] == [["red"], ["blue"]]


def test_a_detector_of_any_size_gets_each_tile_at_its_own(stub: VisionStub) -> None:
    """It finds what it found, once."""
    (one,) = found(detect(stub, picture((RED, LARGE)), model="free", tiles=FOUR))
    assert corners(one) == pytest.approx(LARGE, abs=1)


def test_a_tile_that_the_model_cannot_take_names_its_picture(stub: VisionStub) -> None:
    """By its position in the request, however many looks came before."""
    good, bad = (encoded(Image.new("RGB", size, GREY)) for size in ((64, 64), (64, 60)))
    cut = pb.Tiles(columns=2, rows=1, overlap=0)
    code, details = refusal(lambda: detect(stub, good, bad, model="strided", tiles=cut))
    assert code == StatusCode.INVALID_ARGUMENT
    assert details.startswith("images[1]: 'strided' leaves the size of its pictures free and fails")


@pytest.mark.parametrize(
    ("cut", "told"),
    [
        (pb.Tiles(), "tiles has 0 columns and 0 rows, expected at least one of each"),
        (pb.Tiles(columns=2), "tiles has 2 columns and 0 rows, expected at least one of each"),
        (pb.Tiles(columns=2, rows=2, overlap=0.6), "tiles.overlap is 0.6, expected 0 to 0.5"),
        (pb.Tiles(columns=2, rows=2, overlap=float("nan")), "tiles.overlap is nan, expected"),
        (
            pb.Tiles(columns=17, rows=2),
            "1 pictures, and tiles ask for 35 looks at each, expected 34",
        ),
        (pb.Tiles(columns=2**32 - 1, rows=2**32 - 1), "expected 34 at most"),
    ],
)
def test_tiles_that_cannot_be_are_refused(stub: VisionStub, cut: pb.Tiles, told: str) -> None:
    """Each look counts as a picture of the request."""
    code, details = refusal(lambda: detect(stub, picture(), tiles=cut))
    assert code == StatusCode.INVALID_ARGUMENT
    assert told in details


def test_as_many_looks_as_pictures_are_answered(stub: VisionStub) -> None:
    """33 of the 34 that this server allows."""
    assert labels(detect(stub, picture(), tiles=pb.Tiles(columns=8, rows=4))) == []
