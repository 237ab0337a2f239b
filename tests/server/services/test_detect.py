"""Detect over a real connection: what is found, where in the picture, and what is refused."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import onnx
import pytest
from grpc import StatusCode
from PIL import Image

from crossrun.oip import model_config_pb2 as pb_config
from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_server.errors import LoadError
from crossrun_server.model_config import detection_outputs
from crossrun_server.models import loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.tensors.tensor_spec import TensorSpec
from tests.support import detectors, models
from tests.support.pictures import RED, boxes, encoded, scene
from tests.support.requests import refusal
from tests.support.running import ON_CPU, Server, run_client, serving
from tests.support.vision import HOW, corners, detect, labels


@pytest.fixture
def stub(detecting: Server) -> Iterator[VisionStub]:
    with grpc.insecure_channel(detecting.address) as channel:
        yield VisionStub(channel)


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


def test_nothing_found_is_an_empty_list(stub: VisionStub) -> None:
    """A picture without objects is answered, with its size."""
    grey = encoded(Image.new("RGB", (30, 20), (90, 90, 90)))
    (found,) = detect(stub, grey).results
    assert (len(found.detections), found.width, found.height) == (0, 30, 20)


def test_the_reply_says_who_answered_and_where_the_time_went(stub: VisionStub) -> None:
    """The answer has the model's name and version, and the times of decoding and computing."""
    reply = detect(stub, encoded(scene()))
    assert (reply.model, reply.version) == ("finder", "1")
    assert reply.timings.decode_us > 0
    assert reply.timings.compute_us > 0


def test_more_pictures_than_the_batch_holds_are_answered_in_order(stub: VisionStub) -> None:
    """Nine pictures of many sizes pass through a model that takes four, each with its own box."""
    sizes = [(100 + 40 * i, 400 - 30 * i) for i in range(9)]
    for options in ({}, {"min_score": 0.2, "max_detections": 1}):
        reply = detect(stub, *(encoded(scene(size)) for size in sizes), **options)
        for size, found in zip(sizes, reply.results, strict=True):
            assert (found.width, found.height) == size
            step = max(size[0] / detectors.WIDTH, size[1] / detectors.HEIGHT)
            assert corners(found.detections[0]) == pytest.approx(boxes(size)[0], abs=1.1 * step)
            assert len(found.detections) == options.get("max_detections", 3)


@pytest.mark.parametrize("model", ["finder", "localizer", "foreign"])
def test_what_is_not_wanted_is_left_out(stub: VisionStub, model: str) -> None:
    """Detections are chosen by score, by label and then by number, with the graph's help or not."""
    picture = encoded(scene())
    for wanted, expected in (
        ({"min_score": 0.7}, ["red", "green"]),
        ({"min_score": 0}, ["red", "green", "blue"]),
        ({"max_detections": 1}, ["red"]),
        ({"max_detections": 4_000_000_000}, ["red", "green", "blue"]),
        ({"labels": ["blue", "green"]}, ["green", "blue"]),
        ({"labels": ["blue", "green"], "max_detections": 1}, ["green"]),
        ({"labels": ["blue"], "min_score": 0.7}, []),
    ):
        assert labels(detect(stub, picture, model=model, **wanted)) == expected, wanted


def test_the_graph_gets_the_thresholds_that_it_takes(stub: VisionStub) -> None:
    """A request's thresholds reach the graph; those it leaves out are the model's own."""
    picture = encoded(scene())
    for given, expected in (
        ({}, [0.5, 0.3]),
        ({"iou_threshold": 0.75}, [0.75, 0.3]),
        ({"min_score": 0.125}, [0.5, 0.125]),
        ({"iou_threshold": 1, "min_score": 0.25, "max_detections": 1}, [1]),
        ({"iou_threshold": 0.125, "max_detections": 9}, [0.3, 0.125]),
    ):
        (found,) = detect(stub, picture, model="echo", **given).results
        assert [one.score for one in found.detections] == pytest.approx(expected), given


def test_the_configuration_says_from_which_score_on_a_detection_counts(tmp_path: Path) -> None:
    """If a request does not, whether the graph takes thresholds or not."""
    least = 'parameters { key: "detection.min_score" value { string_value: "0.7" } }'
    foreign = detectors.FOREIGN + detectors.FROM_1
    graphs = (
        ("finder", detectors.finder(), detectors.FINDER + detectors.OPTIONS),
        ("foreign", detectors.foreign(), foreign),
    )
    for name, graph, config in graphs:
        models.write(tmp_path / "models", name, graph, config + least, labels=detectors.LABELS)
    with (
        serving(tmp_path / "models", tmp_path / "log") as running,
        grpc.insecure_channel(running.address) as channel,
    ):
        for name, *_ in graphs:
            for given, count in (({}, 2), ({"min_score": 0}, 3), ({"min_score": 0.9}, 1)):
                reply = detect(VisionStub(channel), encoded(scene()), model=name, **given)
                assert len(labels(reply)) == count, (name, given)


def test_a_detector_without_labels_counts_them(stub: VisionStub) -> None:
    """Without labels classes are numbers; without a count, every score above 0 is a detection."""
    picture = encoded(Image.new("RGB", (9, 9), RED))
    assert labels(detect(stub, picture, model="uncounted")) == ["0"]
    picture = encoded(scene())
    assert labels(detect(stub, picture, model="uncounted")) == ["0", "1", "2"]
    assert labels(detect(stub, picture, model="uncounted", labels=["2"])) == ["2"]


@pytest.mark.parametrize("model", ["localizer", "foreign", "uncounted"])
def test_other_detectors_find_the_same(stub: VisionStub, model: str) -> None:
    """A detector may be described in config.pbtxt, have no count, or have no thresholds."""
    pictures = [encoded(scene((640, 480))), encoded(scene((90, 300)))]
    for ours, other in zip(
        detect(stub, *pictures).results, detect(stub, *pictures, model=model).results, strict=True
    ):
        assert [corners(d) for d in other.detections] == [corners(d) for d in ours.detections]
        assert [d.score for d in other.detections] == [d.score for d in ours.detections]


def test_what_is_no_object_is_left_out(stub: VisionStub) -> None:
    """Neither what lies in a letterbox's grey, nor a class before the first label."""
    wide = encoded(Image.new("RGB", (200, 20)))
    for resize, count in ((pb.RESIZE_STRETCH, 2), (pb.RESIZE_LETTERBOX, 1)):
        (found,) = detect(stub, wide, model="echo", resize=resize).results
        assert len(found.detections) == count
        assert corners(found.detections[0]) == (0, 0, 200, 20)
    (found,) = detect(stub, encoded(scene()), model="late").results
    assert [(one.index, one.label) for one in found.detections] == [(0, "red"), (1, "green")]


def test_the_model_says_how_pictures_are_brought_to_size(stub: VisionStub) -> None:
    """By its file, unless the request says it."""
    picture = encoded(scene((90, 300)))
    own = detect(stub, picture, model="letterboxed").results
    assert own == detect(stub, picture, resize=pb.RESIZE_LETTERBOX).results
    stretched = detect(stub, picture, resize=pb.RESIZE_STRETCH).results
    assert own != stretched
    again = detect(stub, picture, model="letterboxed", resize=pb.RESIZE_STRETCH).results
    assert again == stretched


def test_a_localizer_classifies_and_a_detector_does_not(stub: VisionStub) -> None:
    """A request that does not fit the model is told what would be right."""
    picture = encoded(scene())
    reply = stub.Classify(pb.ClassifyRequest(model="localizer", images=[picture]))
    assert [c.label for c in reply.results[0].classes] == ["red", "green", "blue"]
    for call, told in (
        (
            lambda: stub.Classify(pb.ClassifyRequest(model="finder", images=[picture])),
            "'finder' finds objects and classifies no pictures; use Detect",
        ),
        (
            lambda: detect(stub, picture, model="colours"),
            "'colours' returns no detections: expected the outputs detection_boxes",
        ),
    ):
        code, details = refusal(call)
        assert code == StatusCode.INVALID_ARGUMENT
        assert details.startswith(told)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"min_score": float("nan")}, "min_score is nan, expected 0 to 1"),
        ({"min_score": -0.5}, "min_score is -0.5, expected 0 to 1"),
        ({"iou_threshold": 1.5}, "iou_threshold is 1.5, expected 0 to 1"),
        ({"iou_threshold": float("nan")}, "iou_threshold is nan, expected 0 to 1"),
        ({"iou_threshold": 0.5, "model": "localizer"}, "iou_threshold cannot be chosen: 'localiz"),
        ({"max_detections": 0}, "max_detections is 0, expected 1 or more"),
        ({"labels": ["red", "dog"]}, "has no label 'dog'; it has red, green, blue"),
        ({"labels": ["dog"], "model": "uncounted"}, "has no label 'dog'; it has none, expected"),
        ({"resize": 9}, "resize is 9, expected a value of crossrun.v1.Resize"),
        ({"images": []}, "images is empty"),
        ({"model": "unclear"}, "'unclear' says resize 'fit' (metadata crossrun.preprocessing)"),
        ({"model": "damaged"}, "(metadata crossrun.preprocessing): expected a JSON object; use"),
    ],
)
def test_what_makes_no_sense_is_refused(
    stub: VisionStub, fields: dict[str, object], told: str
) -> None:
    """The message names the field, what it was, and what was expected."""
    request = {"model": "finder", "images": [encoded(scene())], **fields}
    code, details = refusal(lambda: stub.Detect(pb.DetectRequest(**request)))  # type: ignore[arg-type]
    assert code == StatusCode.INVALID_ARGUMENT
    assert told in details


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"where"', '"nowhere"', "detection.boxes: the model has no output 'nowhere'"),
        ('"many"', '"lots"', "detection.count: the model has no output 'lots'"),
        ('"how"', '"where"', r"detection.scores: output 'where' is FP32 \[1, 3, 4\], expected num"),
        ('"xyxy"', '"xywh"', "'detection.box_order' is 'xywh', expected yxyx or xyxy"),
        ('"pixels"', '"metres"', "'detection.box_unit' is 'metres', expected normalised or pixels"),
        ('value: "1"', 'value: "2"', "'detection.first_class' is '2', expected 0 or 1"),
        ("detection.count", "detection.number", "'detection.number' is unknown, expected one of"),
        ("detection.count", "detection.min_score", "'detection.min_score' is 'many', expected a s"),
    ],
)
def test_a_description_that_cannot_be_stops_the_load(
    old: str, new: str, told: str, tmp_path: Path
) -> None:
    """The error names the parameter, or the output that it names, and what was expected."""
    config = (detectors.FOREIGN + detectors.FROM_1).replace(old, new)
    models.write(tmp_path, "foreign", detectors.foreign(), config, labels=detectors.LABELS)
    with pytest.raises(LoadError, match=told):
        loader.load(ModelSource(tmp_path / "foreign"), ON_CPU)


def test_outputs_that_only_share_the_names_are_no_detections(tmp_path: Path) -> None:
    """A model that nobody calls a detector loads, whatever the names of its outputs."""
    text = models.identity(onnx.TensorProto.STRING, ["batch", 4, 4], y="detection_boxes")
    models.write(tmp_path, "text", text)
    (model,) = loader.load(ModelSource(tmp_path / "text"), ON_CPU).models.values()
    assert model.config.detection_outputs is None


def test_tritonclient_finds_objects_in_raw_tensors(detecting: Server) -> None:
    """With the model's thresholds and with its own, in a process of its own."""
    run_client("stock_detect", detecting.address)


def test_outputs_of_unlike_length_stop_the_load() -> None:
    """Rows of boxes, scores and classes belong together."""
    boxes, scores, classes = (
        TensorSpec(name, "FP32", shape)
        for name, shape in (("b", (-1, 10, 4)), ("s", (-1, 100)), ("c", (-1, -1)))
    )
    proto = pb_config.ModelConfig()
    for part, spec in (("boxes", boxes), ("scores", scores), ("classes", classes)):
        proto.parameters[f"detection.{part}"].string_value = spec.name
    with pytest.raises(LoadError, match="different numbers of rows: 'b' 10, 's' 100, 'c' -1"):
        detection_outputs.read(proto, [boxes, scores, classes])
