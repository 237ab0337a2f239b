"""The export of a detector: what is written, what is refused, what the graph finds."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from crossrun_export import scenes
from crossrun_export.detector import check, measure, pipeline
from crossrun_export.detector.load import load
from crossrun_export.detector.measure import Detections
from crossrun_export.detector.settings import Options, Thresholds, Tolerance, Weights
from crossrun_export.errors import ExportError
from crossrun_export.scenes import CLASSES
from crossrun_export.sources import Source
from tests.support.metadata import metadata
from tests.support.running import BIN, run_here, serving

# Keras writes HDF5 through a protocol that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NAMES = ["detector", "detector-fp16", "detector-int8"]


def options(output: Path, **changes: Any) -> Options:
    own = Options(
        output=output,
        name="detector",
        input_dtype="uint8",
        resize="letterbox",
        data=None,
        thresholds=Thresholds(),
        tolerance=Tolerance(),
    )
    return replace(own, **changes)


@pytest.fixture(scope="module")
def bundled() -> Source:
    return load(Weights(), None)


@pytest.fixture(scope="module")
def network(bundled: Source) -> onnx.ModelProto:
    return pipeline.to_onnx(bundled, options(Path()))


@pytest.fixture
def converted(network: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bundled detector is there as ONNX: what is tested comes after its conversion."""

    def copy(*_: Any) -> onnx.ModelProto:
        made = onnx.ModelProto()
        made.CopyFrom(network)
        return made

    monkeypatch.setattr(pipeline, "to_onnx", copy)


def session(model: Path) -> onnxruntime.InferenceSession:
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    quiet.add_session_config_entry("session.x64quantprecision", "1")  # int8 without VNNI
    return onnxruntime.InferenceSession(model, quiet)


# --- What is written -------------------------------------------------------------------------


def test_the_repository_holds_a_model_for_each_precision(exported_detectors: Path) -> None:
    """Triton's layout; labels are the classes; the source lies beside each of them."""
    assert sorted(path.name for path in exported_detectors.iterdir()) == NAMES
    for name in NAMES:
        assert (exported_detectors / name / "labels.txt").read_text().split() == list(CLASSES)
        files = sorted(file.name for file in (exported_detectors / name / "1").iterdir())
        assert files == ["model.keras", "model.onnx", "proof.npz"]


def test_the_metadata_tell_how_to_prepare_and_what_it_costs(exported_detectors: Path) -> None:
    """Preprocessing, source, exported thresholds; parity of fp32, prices of the others."""
    found = {name: metadata(exported_detectors / name / "1" / "model.onnx") for name in NAMES}
    for one in found.values():
        assert one["preprocessing"]["resize"] == "letterbox"
        assert one["source"]["weights"] == "bundled"
        assert one["detection"] == {
            "score_threshold": 0.3,
            "iou_threshold": 0.5,
            "max_detections": 100,
        }
    assert found["detector"]["parity"]["images"] == 100
    assert found["detector"]["parity"]["max_abs_diff"] < 1e-4
    for name in NAMES[1:]:
        assert found[name]["price"]["map_change"] > -0.01
        assert found[name]["price"]["map"] > 0.7
    assert found["detector-int8"]["calibration"]["pictures"] == 64


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [1, 3, 32])
def test_any_batch_gives_the_four_outputs(exported_detectors: Path, name: str, batch: int) -> None:
    """Names, types and shapes are those of the contract; most of what is drawn is found."""
    groups = [scenes.draw_several(8, index, 160) for index in range(batch)]
    pixels = np.stack([group.pixels for group in groups])
    found = session(exported_detectors / name / "1" / "model.onnx").run(None, {"image": pixels})
    assert [(part.shape, part.dtype.name) for part in found] == [
        ((batch, 100, 4), "float32"),
        ((batch, 100), "float32"),
        ((batch, 100), "int64"),
        ((batch,), "int32"),
    ]
    there = sum(len(group.things) for group in groups)
    assert abs(found[3].sum() - there) <= max(2, 0.3 * there)


def test_the_source_beside_it_loads_without_this_package(exported_detectors: Path) -> None:
    """In a process that imports Keras alone: boxes in 0 … 1 and scores, a row for each cell."""
    source = exported_detectors / "detector" / "1" / "model.keras"
    code = f"""
import keras, numpy, sys
model = keras.models.load_model({str(source)!r}, compile=False)
boxes, scores = model.predict_on_batch(numpy.zeros((2, 160, 160, 3), "float32"))
assert boxes.shape == (2, 525, 4) and scores.shape == (2, 525, 10)
assert 0 <= boxes.min() and boxes.max() <= 1 and 0 < scores.min() and scores.max() < 1
assert not any(name.startswith("crossrun") for name in sys.modules)
"""
    command = [str(BIN / "python"), "-c", code]
    environment = {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(command, check=True, env=environment)


def test_almost_all_convolutions_run_in_int8(exported_detectors: Path, tmp_path: Path) -> None:
    """The first two and the last of each head stay float, 52 of 60 do not."""
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    quiet.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(exported_detectors / "detector-int8" / "1" / "model.onnx", quiet)
    kinds = [node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node]
    assert (kinds.count("QLinearConv"), kinds.count("Conv")) == (52, 8)


def test_the_server_loads_every_precision(exported_detectors: Path, tmp_path: Path) -> None:
    """config.pbtxt says of the graph what the server finds there, optional inputs included."""
    with serving(exported_detectors, tmp_path / "log") as server:
        log = server.log.read_text()
    for name, precision in zip(NAMES, ("fp32", "fp16", "int8"), strict=True):
        (told,) = re.findall(rf"{name} version 1: within (\S+) of (.*)", log)
        assert 0 < float(told[0]) < 0.1
        assert told[1].startswith(f"the original on 8 drawn pictures ({precision}, allowed ")
        assert told[1].endswith("100.00% of answers the same")
    config = (exported_detectors / "detector" / "config.pbtxt").read_text()
    assert config.count("optional: true") == 3
    assert 'data_type: TYPE_INT64 dims: [ 100 ] label_filename: "labels.txt"' in config


# --- What is refused -------------------------------------------------------------------------


@pytest.mark.usefixtures("converted")
def test_a_graph_that_finds_something_else_is_not_written(
    bundled: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With suppression that ignores the IoU asked for, verification fails and nothing is there."""
    from crossrun_export.detector import suppress

    wrong = suppress.GRAPH.replace("{iou}, nms_rows", "{score}, nms_rows")
    monkeypatch.setattr(suppress, "GRAPH", wrong)
    with pytest.raises(ExportError, match="detections differ by"):
        pipeline.export(bundled, options(tmp_path / "models"))
    assert list((tmp_path / "models").iterdir()) == []


@pytest.mark.usefixtures("converted")
def test_a_precision_that_loses_too_much_writes_nothing(
    bundled: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also fp32 is not written then."""
    monkeypatch.setattr("crossrun_export.detector.pictures.MANY", 20)
    wanted = options(
        tmp_path / "models",
        precisions=("fp32", "fp16"),
        tolerance=Tolerance(max_map_drop=-50),
    )
    with pytest.raises(ExportError, match=r"fp16 loses .* points of mAP, allowed are -50.00"):
        pipeline.export(bundled, wanted)
    assert list((tmp_path / "models").iterdir()) == []


def detections(*found: tuple[int, float, float]) -> Detections:
    """One picture: classes, scores, and boxes that begin at a value."""
    boxes = np.array([[at, at, at + 0.2, at + 0.2] for _, _, at in found], np.float32)
    return Detections(
        boxes.reshape(1, -1, 4),
        np.array([[score for _, score, _ in found]], np.float32),
        np.array([[label for label, _, _ in found]], np.int64),
        np.array([len(found)]),
    )


@pytest.mark.parametrize(
    "other",
    [
        detections((0, 0.9, 0.1)),
        detections((0, 0.9, 0.1), (1, 0.8, 0.5), (1, 0.7, 0.6)),
        detections((0, 0.9, 0.1), (2, 0.8, 0.5)),
        detections((0, 0.9, 0.1), (1, 0.8, 0.51)),
        detections((0, 0.9, 0.1), (1, 0.79, 0.5)),
        detections(),
    ],
    ids=["missing", "more", "class", "place", "score", "nothing"],
)
def test_any_difference_is_found(other: Detections) -> None:
    """One too few, one too many, another class, place or score."""
    one = detections((0, 0.9, 0.1), (1, 0.8, 0.5))
    assert check.verify(one, one, Thresholds(), 1e-3, ["cat.jpg"]).max_abs_diff == 0
    for pair in ((one, other), (other, one)):
        with pytest.raises(ExportError, match=r"the worst is cat\.jpg"):
            check.verify(*pair, Thresholds(), 1e-3, ["cat.jpg"])


def test_what_lies_at_a_threshold_may_be_on_either_side() -> None:
    """Rounding decides there, and nothing is wrong."""
    one = detections((0, 0.9, 0.1), (1, 0.3004, 0.5))
    less = detections((0, 0.9, 0.1))
    assert check.verify(one, less, Thresholds(), 1e-3, ["cat.jpg"]).max_abs_diff == 0
    full = Thresholds(most=2)
    one, other = (detections((0, 0.9, 0.1), (1, 0.8, at)) for at in (0.5, 0.6))
    assert check.verify(one, other, full, 1e-3, ["cat.jpg"]).max_abs_diff == 0


def test_no_price_is_told_where_nothing_is_right() -> None:
    """A drop from nothing is none."""
    nothing = measure.AveragePrecision(0.0, 0.0)
    with pytest.raises(ExportError, match="finds nothing right in 5 pictures"):
        check.check(check.price(nothing, nothing, 5), 1.0, "int8")


def test_a_drop_that_is_no_number_is_too_high() -> None:
    """Whichever of the two it is."""
    good, nan = measure.AveragePrecision(0.5, 0.5), float("nan")
    for bad in (measure.AveragePrecision(nan, 0.5), measure.AveragePrecision(0.5, nan)):
        with pytest.raises(ExportError, match="int8 loses nan points of mAP"):
            check.check(check.price(good, bad, 5), 1.0, "int8")


def test_drawn_pictures_price_no_other_classes(bundled: Source, tmp_path: Path) -> None:
    """Their labels would be held against those of other classes; --data has to be given."""
    other = replace(bundled, labels=tuple(f"class {i}" for i in range(10)))
    with pytest.raises(ExportError, match=r"drawn pictures show none .*; give --data"):
        pipeline.export(other, options(tmp_path / "models", precisions=("fp16",)))
    assert not (tmp_path / "models").exists()


@pytest.mark.usefixtures("converted")
def test_a_detector_that_finds_nothing_is_verified_by_its_scores(
    bundled: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No detection at all agrees with no detection at all, and proves nothing."""
    nothing = pipeline.Made("fp32", onnx.ModelProto(), check.Parity(33, 0, 0.0))
    assert pipeline.told(nothing).startswith("finds nothing in 33 pictures, as Keras does")
    monkeypatch.setattr(pipeline, "ALL", Thresholds(score=1.0, most=1))
    wanted = options(tmp_path / "models", thresholds=Thresholds(score=1.0))
    monkeypatch.setattr(measure, "raw", shifted)
    with pytest.raises(
        ExportError, match=r"finds nothing, .* scores differ by up to 0.01, allowed"
    ):
        pipeline.export(bundled, wanted)


RAW = measure.raw


def shifted(*arguments: Any) -> Any:
    """Boxes and scores, each score off by 0.01."""
    boxes, scores = RAW(*arguments)
    return boxes, np.float32(0.99) * scores + np.float32(0.01) * (scores < 0.5)


# --- The command -----------------------------------------------------------------------------


def test_the_command_exports_with_thresholds_of_its_own(tmp_path: Path) -> None:
    """They are the graph's defaults, and a line tells that it finds the same as Keras."""
    options = ["--score-threshold", "0.9", "--max-detections", "7", "--output", str(tmp_path)]
    done = run_here(["crossrun-export", "detector", *options])
    assert done.returncode == 0, done.stderr
    assert "objects as Keras in 33 pictures" in done.stderr
    model = tmp_path / "detector" / "1" / "model.onnx"
    pixels = scenes.draw_several(8, 3, 160).pixels[None]
    _, scores, _, count = session(model).run(None, {"image": pixels})
    assert scores.shape == (1, 7)
    assert (scores[0, : count[0]] > 0.9).all()


LABELLED = ["--weights", "random", "--labels"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--weights", "nowhere.h5"], "random or a file; nowhere.h5 is none"),
        (["--weights", __file__], "is not what train-detector writes"),
        (["--alpha", "0.5"], "has alpha 0.25 and size 160"),
        (["--size", "96"], "has alpha 0.25 and size 160"),
        (["--labels", __file__], "labels for a model of 10 classes"),
        (["--backbone-weights", "imagenet"], "is for --weights random"),
        (["--weights", "random"], "needs --labels"),
        ([*LABELLED, __file__, "--size", "100"], "no multiple of 32"),
        (["--precision", "fp8"], "expected some of fp32, int8, fp16"),
        (["--data", "nowhere"], "cannot be read as COCO's JSON"),
        (["--max-map-drop", "1"], "--max-map-drop is for int8 and fp16, and --precision asks for"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], told: str) -> None:
    """In the words of the command line."""
    from typer.testing import CliRunner

    from crossrun_export.cli import app

    done = CliRunner().invoke(app, ["detector", "--output", "nowhere", *arguments])
    assert isinstance(done.exception, ExportError)
    assert told in str(done.exception)
    assert not Path("nowhere").exists()


def test_a_data_set_of_other_categories_is_refused(bundled: Source, tmp_path: Path) -> None:
    """Its boxes could not be held against the detector's."""
    scenes.write_folder(tmp_path / "drawn", 2, seed=1, size=64, objects="several")
    other = replace(bundled, labels=("a", "b"))
    with pytest.raises(ExportError, match="the detector's are a, b"):
        pipeline.export(other, options(tmp_path / "models", data=tmp_path / "drawn"))


def test_a_detector_is_verified_on_a_data_set(bundled: Source, tmp_path: Path) -> None:
    """Pictures of any size, brought to the detector's as asked for."""
    scenes.write_folder(tmp_path / "drawn", 5, seed=1, size=200, objects="several")
    wanted = options(tmp_path / "models", data=tmp_path / "drawn", resize="stretch")
    ((version, made),) = pipeline.export(bundled, wanted)
    assert isinstance(made.cost, check.Parity)
    assert made.cost.images == 5
    assert metadata(version / "model.onnx")["preprocessing"]["resize"] == "stretch"
    with pytest.raises(ExportError, match="5 pictures; expected 128 or more"):
        pipeline.export(bundled, replace(wanted, precisions=("int8",)))
