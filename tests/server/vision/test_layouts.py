"""Detectors of other layouts, described in config.pbtxt: the right boxes in the photograph."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc import StatusCode

from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_server.errors import LoadError
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.vision import boxes, detector
from crossrun_server.vision.boxes import Size
from crossrun_server.vision.detector import DetectOptions
from crossrun_server.vision.pipeline import Prediction
from tests.support import detectors, foreign_detectors, models
from tests.support.pictures import encoded, scene
from tests.support.requests import refusal
from tests.support.running import ON_CPU, serving
from tests.support.vision import HOW, corners, detect, labels

NAMES = [kind.replace(" ", "_") for kind in foreign_detectors.KINDS]
DENSE = ["yolo", "yolo_across", "yolo-objectness", "ssd"]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("layouts")
    models.write(root, "finder", detectors.finder(), detectors.FINDER, labels=detectors.LABELS)
    foreign_detectors.write_all(root)
    return root


@pytest.fixture(scope="module")
def stub(
    front: str, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VisionStub]:
    log = tmp_path_factory.mktemp(front) / "log"
    with (
        serving(repository, log, "--front", front) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        yield VisionStub(channel)


def assert_like(ours: pb.DetectResponse, other: pb.DetectResponse) -> None:
    for one, its in zip(ours.results, other.results, strict=True):
        assert [(d.label, d.index) for d in its.detections] == [
            (d.label, d.index) for d in one.detections
        ]
        for mine, theirs in zip(one.detections, its.detections, strict=True):
            assert corners(theirs) == pytest.approx(corners(mine), abs=0.01)
            assert theirs.score == pytest.approx(mine.score, abs=1e-4)


@pytest.mark.parametrize("name", [f"{name}{alone}" for name in NAMES for alone in ("", "_alone")])
def test_boxes_are_where_the_finder_has_them(stub: VisionStub, name: str) -> None:
    """In the photograph as it was sent, however it is brought to size, one or several at once."""
    pictures = [encoded(scene((640, 480))), encoded(scene((90, 300)))]
    for resize in HOW:
        for some in (pictures[:1], pictures):
            ours = detect(stub, *some, resize=resize)
            assert all(found.detections for found in ours.results)
            assert_like(ours, detect(stub, *some, model=name, resize=resize))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_wanted_is_left_out(stub: VisionStub, name: str) -> None:
    """Detections are chosen by score, by label and then by number, in every layout."""
    picture = encoded(scene())
    for wanted, expected in (
        ({"min_score": 0.7}, ["red", "green"]),
        ({"max_detections": 1}, ["red"]),
        ({"labels": ["blue", "green"], "max_detections": 1}, ["green"]),
        ({"labels": ["blue"], "min_score": 0.7}, []),
    ):
        assert labels(detect(stub, picture, model=name, **wanted)) == expected, wanted


@pytest.mark.parametrize("name", NAMES)
def test_only_what_is_suppressed_here_takes_an_iou_threshold(stub: VisionStub, name: str) -> None:
    """At 1 nothing is suppressed: the same box, and one a little beside, are found as well."""
    picture = encoded(scene())

    def ask() -> pb.DetectResponse:
        return detect(stub, picture, model=name, iou_threshold=1, labels=["red"])

    if name in DENSE:
        assert labels(ask()) == ["red"] * 3
        return
    code, details = refusal(ask)
    assert code == StatusCode.INVALID_ARGUMENT
    assert "iou_threshold cannot be chosen" in details


def test_suppression_is_bounded_whatever_a_request_asks_for(tmp_path: Path) -> None:
    """Each detection is compared with all others, so a picture has at most a thousand."""
    config = foreign_detectors.config("yolo")
    models.write(tmp_path, "it", foreign_detectors.model("yolo"), config, labels=detectors.LABELS)
    (model,) = loader.load(ModelSource(tmp_path / "it"), ON_CPU).models.values()
    rows = np.zeros((1, 7, 1100), np.float32)
    rows[0, 0], rows[0, 1:4], rows[0, 4] = np.linspace(2, 60, 1100), 1, 0.9
    view = boxes.view(Size(480, 640), Size(48, 64), "stretch")
    look = Prediction(view, {"output0": rows}, 0)
    finder = detector.describe(model)
    for asked, count in ((None, 100), (200, 200), (5000, 1000)):
        options = DetectOptions(iou_threshold=1, max_detections=asked)
        assert len(finder.detections([look], options)) == count


@pytest.mark.parametrize("name", ["yolo", "rows", "detr"])
def test_tiles_are_looked_at_in_every_layout(stub: VisionStub, name: str) -> None:
    """What several looks find is one object each."""
    picture = encoded(scene((640, 480)))
    tiles = pb.Tiles(columns=2, rows=2)
    ours = detect(stub, picture, tiles=tiles)
    assert len(ours.results[0].detections) >= 3
    assert_like(ours, detect(stub, picture, model=name, tiles=tiles))


@pytest.mark.parametrize("kind", ["apart", "rows", "yolo", "yolo-objectness", "detr", "ssd"])
def test_shapes_alone_make_no_detector(kind: str, tmp_path: Path) -> None:
    """Neither unit nor order is told by a shape: without a word there are no detections."""
    nothing: dict[str, Any] = dict.fromkeys(foreign_detectors.KINDS[kind].config)
    config = foreign_detectors.config(kind, **nothing).replace('label_filename: "labels.txt"', "")
    models.write(tmp_path, "it", foreign_detectors.model(kind), config)
    (model,) = loader.load(ModelSource(tmp_path / "it"), ON_CPU).models.values()
    assert model.config.detection_outputs is None


@pytest.mark.parametrize(
    ("kind", "changed", "told"),
    [
        ("rows", {"box_unit": None}, "'detection.box_unit' is missing, and 'rows' does not tell"),
        ("yolo", {"box_unit": None}, "'detection.box_unit' is missing, and 'yolo' does not tell"),
        ("apart", {"box_order": None}, "'detection.box_order' is missing"),
        ("ssd", {"box_order": None}, "'detection.box_order' is missing"),
        ("detr", {"head": None}, "'detection.head' is missing, and 'detr' does not tell it; exp"),
        ("detr", {"background": None}, "'detection.background' is missing"),
        ("ssd", {"background": None}, "'detection.background' is missing"),
        ("rows", {"layout": None}, "detection.boxes: the model has no output 'detection_boxes'"),
        ("yolo", {"layout": "rows"}, "'detection.rows' is missing, and the outputs do not tell"),
        (
            "rows",
            {"layout": "ssd"},
            "'detection.boxes' is missing, and the outputs do not tell which it is: none may be",
        ),
        ("rows", {"layout": "columns"}, "is 'columns', expected tensorflow or apart or rows or"),
        ("rows", {"head": "softmax"}, "'detection.head' says nothing about 'rows'"),
        ("yolo-objectness", {"head": "logits"}, "has the 'detection.head' sigmoid or sigmoid-log"),
        ("yolo", {"first_class": "1"}, "'detection.first_class' says nothing about 'yolo'"),
        ("rows", {"rows": "lost"}, "detection.rows: the model has no output 'lost'"),
        ("tensorflow", {"head": "sigmoid"}, "says nothing about 'tensorflow', which it is without"),
        ("detr", {"background": "none"}, "labels.txt has 3 labels, but output .* has 4 classes"),
        ("yolo", {"layout": "yolo-objectness"}, "labels.txt has 3 labels, .* has 2 or 4 classes"),
    ],
)
def test_a_description_that_says_too_little_or_too_much_stops_the_load(
    kind: str, changed: dict[str, Any], told: str, tmp_path: Path
) -> None:
    """The error names the key, and what was expected."""
    config = foreign_detectors.config(kind, **changed)
    model = foreign_detectors.model(kind)
    models.write(tmp_path, "it", model, config, labels=detectors.LABELS)
    with pytest.raises(LoadError, match=told):
        loader.load(ModelSource(tmp_path / "it"), ON_CPU)
