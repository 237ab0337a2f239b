"""Labels of a served model: how their file is read, and that their number has to fit."""

import hashlib
import shutil
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest
from grpc import StatusCode
from onnx import TensorProto as Tp
from onnx import helper

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceStub as Stub
from crossrun.v1 import vision_pb2
from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_server import tune
from crossrun_server.errors import InvalidRequest, LoadError, NoNumber
from crossrun_server.model_config import config
from crossrun_server.models import labels, loader
from crossrun_server.models.loader import ModelSource
from crossrun_server.tensors.tensor_spec import Array
from crossrun_server.vision import boxes, detector
from crossrun_server.vision.detector import DetectOptions, Detector
from crossrun_server.vision.pipeline import Prediction
from tests.support import detectors, models
from tests.support.label_files import INSIDE, WRITTEN
from tests.support.pictures import plain
from tests.support.requests import refusal, strings
from tests.support.running import ON_CPU, Server

WRONG = {
    "one too many": (b"a\nb\nc\nd\n", r"labels.txt has 4 labels, but .*'scores' has 3 classes$"),
    "another list": (b"background\na\nb\nc\n", r"4 labels, .* 3 classes; its first line, 'backgr"),
    "an empty line more": (b"a\nb\nc\n\n", r"4 labels, .* 3 classes; its last line is empty"),
    "one too few": (b"a\nb\n", "has 2 labels, .* 3 classes$"),
    "an old Mac's": (b"a\rb\rc\r", "has 1 labels, .* 3 classes$"),
    "empty": (b"", "labels.txt holds no label"),
    "a mark alone": (b"\xef\xbb\xbf", "labels.txt holds no label"),
    "UTF-16": ("red\ngreen\nblue\n".encode("utf-16"), "labels.txt is not UTF-8 .* like UTF-16"),
    "UTF-16 without a mark": ("red\ngreen\nblue\n".encode("utf-16-le"), "it looks like UTF-16"),
    "Latin 1": ("red\ngr\u00fcn\nblue\n".encode("latin-1"), "labels.txt .* line 2 .* byte 0xfc"),
}


def colours(folder: Path, text: bytes) -> dict[str, tuple[str, ...]]:
    """The labels of the model `colours`, whose file has these bytes."""
    models.write(folder, "colours", models.colours(), models.COLOURS_CONFIG, labels=["to replace"])
    (folder / "colours" / "labels.txt").write_bytes(text)
    (model,) = loader.load(ModelSource(folder / "colours"), ON_CPU).models.values()
    model.close()
    return dict(model.labels)


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_a_label_is_a_line_without_its_end(text: bytes, tmp_path: Path) -> None:
    """Whatever editor wrote the file, the labels are the same."""
    assert colours(tmp_path, text) == {"scores": ("red", "green", "blue")}


@pytest.mark.parametrize(
    ("text", "others"),
    [
        (b"red\ngreen\nblue\n", False),
        (b"\xef\xbb\xbfred\r\ngreen\r\nblue", False),
        (b"background\nred\ngreen\n", True),
        (b"rouge\nvert\nbleu\n", True),
    ],
)
def test_labels_of_another_export_are_told(
    text: bytes, others: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As many as there are classes may still be others; another editor makes none of them."""
    model = models.colours()
    written = hashlib.sha256(b"red\ngreen\nblue\n").hexdigest()
    helper.set_model_props(model, {"crossrun.labels_sha256": f'"{written}"'})
    models.write(tmp_path, "colours", model, models.COLOURS_CONFIG, labels=["to replace"])
    (tmp_path / "colours" / "labels.txt").write_bytes(text)
    (loaded,) = loader.load(ModelSource(tmp_path / "colours"), ON_CPU).models.values()
    loaded.close()
    told = "the labels of scores are not those that the model was exported with"
    assert (told in caplog.text) == others


@pytest.mark.parametrize("mark", INSIDE, ids=map(repr, INSIDE))
def test_only_a_line_feed_ends_a_line(mark: str, tmp_path: Path) -> None:
    """A label may hold what Unicode knows as ends of lines: those after it do not shift."""
    text = f"red\nsea{mark}green\nblue\n"
    assert colours(tmp_path, text.encode())["scores"] == ("red", f"sea{mark}green", "blue")


@pytest.mark.parametrize(("text", "told"), WRONG.values(), ids=WRONG)
def test_another_number_of_labels_stops_the_load(text: bytes, told: str, tmp_path: Path) -> None:
    """The error names the file, both numbers and what is often the reason; so does another text."""
    with pytest.raises(LoadError, match=told):
        colours(tmp_path, text)


@pytest.mark.parametrize(
    ("sizes", "fitting"),
    [
        ([3], {3}),
        ([3, 1, 1], {3}),
        ([5, 3], {3, 15}),
        ([1], {1, 2}),
        ([], {1, 2}),
        ([1, 1], {1, 2}),
    ],
)
def test_labels_fit_scores_of_many_shapes(sizes: list[int], fitting: set[int]) -> None:
    """One for each score, or for each place of the last dimension; a single score may tell two."""
    assert labels.fitting(sizes) == fitting


def of_unknown_size() -> onnx.ModelProto:
    """`x` FP32 [batch, 4] → `y`: the first three values, which no shape tells."""
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Compress", ["x", "kept"], ["y"], axis=1)],
            "compress",
            [helper.make_tensor_value_info("x", Tp.FLOAT, ["batch", 4])],
            [helper.make_tensor_value_info("y", Tp.FLOAT, ["batch", "any"])],
            [helper.make_tensor("kept", Tp.BOOL, [4], [1, 1, 1, 0])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


UNBATCHED = """max_batch_size: 0
output [{ name: "y" data_type: TYPE_FP32 dims: [-1, -1] label_filename: "labels.txt" }]"""


@pytest.mark.parametrize("config", [models.NAMED_CONFIG, UNBATCHED], ids=["batches", "none"])
@pytest.mark.parametrize(("names", "fits"), [("abc", True), ("abcd", False)])
def test_a_shape_that_does_not_tell_is_seen_at_the_first_run(
    names: str, fits: bool, config: str, tmp_path: Path
) -> None:
    """Where the number of classes is free in the file, a run at load counts them."""
    models.write(tmp_path, "open", of_unknown_size(), config, labels=list(names))
    if fits:
        (model,) = loader.load(ModelSource(tmp_path / "open"), ON_CPU).models.values()
        model.close()
        return
    with pytest.raises(LoadError, match=r"labels.txt has 4 labels, but output 'y' has 3 classes"):
        loader.load(ModelSource(tmp_path / "open"), ON_CPU)


def scores(*values: float) -> pb.ModelInferRequest:
    """A request for the best class of `named`."""
    message = pb.ModelInferRequest(model_name="named")
    message.inputs.add(name="x", datatype="FP32", shape=[1, len(values)])
    message.raw_input_contents.append(np.array(values, np.float32).tobytes())
    message.outputs.add(name="y").parameters["classification"].int64_param = 1
    return message


def test_an_answer_with_other_classes_is_refused(channel: grpc.Channel) -> None:
    """Where the number of classes follows the input, two labels name two scores and no three."""
    reply = Stub(channel).ModelInfer(scores(0, 1))
    assert strings(reply.raw_output_contents[0]) == ["1.000000:1:dog"]
    code, text = refusal(lambda: Stub(channel).ModelInfer(scores(0, 1, 0)))
    assert code == StatusCode.INTERNAL
    assert text == "'named' returns [3] scores in 'y', which has 2 labels"


def test_one_score_for_two_classes_is_not_the_first_ones(channel: grpc.Channel) -> None:
    """A single score may be that of the second label: no label stands beside it."""
    reply = Stub(channel).ModelInfer(scores(0.25))
    assert strings(reply.raw_output_contents[0]) == ["0.250000:0"]


def test_a_detected_class_beyond_the_labels_is_refused(detecting: Server) -> None:
    """Its number would hide that the other labels may be shifted as well."""
    with grpc.insecure_channel(detecting.address) as channel:
        stub = VisionStub(channel)
        ask = vision_pb2.DetectRequest(model="short", images=[plain(255, 0, 0)])
        assert [d.label for d in stub.Detect(ask).results[0].detections] == ["red"]
        ask.images[0] = plain(0, 0, 255)
        code, text = refusal(lambda: stub.Detect(ask))
    assert code == StatusCode.INTERNAL
    assert text == (
        "'short' returns class 2 in 'detection_classes', which has 2 labels; if its classes count "
        "from 1, parameters 'detection.first_class' says so"
    )


def test_rows_of_detections_have_no_labels_by_their_place(detecting: Server) -> None:
    """The classification extension on a detector's classes names no class after a row."""
    message = pb.ModelInferRequest(model_name="finder")
    message.inputs.add(name="image", datatype="UINT8", shape=[1, 48, 64, 3])
    message.raw_input_contents.append(bytes(48 * 64 * 3))
    message.outputs.add(name="detection_classes").parameters["classification"].int64_param = 3
    with grpc.insecure_channel(detecting.address) as channel:
        found = strings(Stub(channel).ModelInfer(message).raw_output_contents[0])
    assert [text.count(":") for text in found] == [1, 1, 1]


def test_a_localizers_labels_are_counted_on_its_scores(tmp_path: Path) -> None:
    """One file for two outputs is held against the one whose shape tells."""
    localizer, names = detectors.localizer(), [*detectors.LABELS, "more"]
    models.write(tmp_path, "localizer", localizer, detectors.LOCALIZER, labels=names)
    with pytest.raises(LoadError, match="4 labels, but output 'probabilities' has 3 classes"):
        loader.load(ModelSource(tmp_path / "localizer"), ON_CPU)


def test_a_whole_number_may_be_the_class_itself(tmp_path: Path) -> None:
    """What ends in ArgMax has a label file as long as it likes, and no scores to be ranked."""
    text = models.NAMED_CONFIG.replace("FP32", "INT64").replace("-1", "1")
    model = models.identity(Tp.INT64, ["batch", 1])
    models.write(tmp_path, "best", model, text, labels=["a", "b", "c"])
    (loaded,) = loader.load(ModelSource(tmp_path / "best"), ON_CPU).models.values()
    loaded.close()
    assert loaded.labels == {"y": ("a", "b", "c")}
    with pytest.raises(InvalidRequest, match="'y' of 'best' is the number of a class and no score"):
        loaded.names("y", [1])


def test_a_configuration_may_begin_with_a_byte_order_mark(
    tiny_models: Path, tmp_path: Path
) -> None:
    """And have Windows' ends of lines, as some editors write it; a plan can be pinned in it."""
    shutil.copytree(tiny_models / "colours", tmp_path / "colours")
    file = tmp_path / "colours" / "config.pbtxt"
    text = file.read_text()
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert config.read(tmp_path / "colours") == config.read(tiny_models / "colours")
    tune._pin(file, {"plan": "1x1"})
    pinned = config.read(tmp_path / "colours")
    assert pinned is not None
    assert pinned.parameters["plan"].string_value == "1x1"


def test_a_configuration_in_another_encoding_is_named(tmp_path: Path) -> None:
    """The error names the file and the encoding that was expected."""
    models.write(tmp_path, "colours", models.colours(), models.COLOURS_CONFIG)
    file = tmp_path / "colours" / "config.pbtxt"
    file.write_bytes(models.COLOURS_CONFIG.encode("utf-16"))
    with pytest.raises(LoadError, match=f"{file} is not UTF-8 text"):
        config.read(file.parent)


# --- What is no number -----------------------------------------------------------------------


@pytest.fixture
def finder(tmp_path: Path) -> Detector:
    """A detector of three classes."""
    models.write(tmp_path, "finder", detectors.finder(), detectors.FINDER + detectors.OPTIONS)
    (tmp_path / "finder" / "labels.txt").write_text("red\ngreen\nblue\n")
    (model,) = loader.load(ModelSource(tmp_path / "finder"), ON_CPU).models.values()
    model.close()
    return detector.describe(model)


def outputs_of_two() -> dict[str, Array]:
    """What a detector gives that found two things and has room for three."""
    return {
        "detection_boxes": np.tile(np.array([0, 0, 1, 1], np.float32), (1, 3, 1)),
        "detection_scores": np.full((1, 3), 0.5, np.float32),
        "detection_classes": np.array([[0, 1, 2]]),
        "num_detections": np.array([2], np.float32),
    }


def read(how: Detector, outputs: dict[str, Array]) -> list[int]:
    """The classes that are found in a picture."""
    size = boxes.Size(48, 64)
    prediction = Prediction(boxes.view(size, size, "stretch"), outputs, 0)
    return [found.index for found in how.detections([prediction], DetectOptions(min_score=0.1))]


@pytest.mark.parametrize("part", ["detection_scores", "detection_boxes"])
def test_detections_that_are_no_numbers_are_refused(part: str, finder: Detector) -> None:
    """One of those counted; past the count anything may stand."""
    outputs = outputs_of_two()
    outputs[part][0, 2] = np.nan
    assert read(finder, outputs) == [0, 1]
    outputs[part][0, 1] = np.nan
    with pytest.raises(NoNumber, match="'finder' returns detections that are not numbers"):
        read(finder, outputs)


def test_a_count_that_is_no_number_is_refused(finder: Detector) -> None:
    """It does not mean that nothing was found."""
    outputs = outputs_of_two() | {"num_detections": np.array([np.nan], np.float32)}
    with pytest.raises(NoNumber, match="'finder' returns NaN as the number of detections"):
        read(finder, outputs)


@pytest.mark.parametrize(("score", "seen"), [(11.26, "0.5 to 11.26"), (-3, "-3 to 0.5")])
def test_detections_whose_scores_are_no_probabilities_are_refused(
    score: float, seen: str, finder: Detector
) -> None:
    """Logits would pass any min_score, or none; past the count anything may stand."""
    outputs = outputs_of_two()
    outputs["detection_scores"][0, 2] = score
    assert read(finder, outputs) == [0, 1]
    outputs["detection_scores"][0, 1] = score
    with pytest.raises(InvalidRequest, match=f"scores from {seen}, expected probabilities"):
        read(finder, outputs)
