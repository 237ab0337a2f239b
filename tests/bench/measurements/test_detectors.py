"""Accuracy of a detector, end to end, and its report."""

import io
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from crossrun_bench import store
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.accuracy.measure import measure
from crossrun_bench.measurements.answers.partial import Partial
from crossrun_bench.measurements.answers.run import AccuracyPlan
from crossrun_bench.measurements.detection.average_precision import average_precision
from crossrun_bench.measurements.detection.measure import DetectionsLine
from crossrun_bench.measurements.detection.result import (
    Detection,
    DetectionResult,
    ShownPicture,
    TargetDetections,
    Truth,
)
from crossrun_bench.models.fitting import fitted, in_picture, place
from crossrun_bench.models.model import Detector, Model
from crossrun_bench.models.repository import read_model
from crossrun_bench.pictures.prepare import decoded, thumbnail
from crossrun_bench.report import html, markdown
from crossrun_bench.report.chapters import chapters
from crossrun_bench.targets.convert import converted
from crossrun_bench.targets.subjects import Asked
from crossrun_bench.targets.targets import runner_for
from crossrun_bench.targets.task import Task
from crossrun_server.vision import images
from crossrun_server.vision.boxes import Size
from tests.support import detectors
from tests.support.coco import BOX, OTHER, data_set
from tests.support.results import INFO, MACHINE
from tests.support.running import Command

TARGETS = ("keras-predict", "onnxruntime", "grpc-raw", "grpc-jpeg")


# A detector, end to end.


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hand-made finder of coloured rectangles, with a Keras model that finds the same."""
    root = tmp_path_factory.mktemp("finder")
    detectors.write_exported(root)
    return root


@pytest.fixture(scope="module")
def with_source(repository: Path) -> Path:
    from crossrun_export.backend import keras

    ops = keras.ops
    height, width = detectors.HEIGHT, detectors.WIDTH
    image = keras.Input((height, width, 3))
    excess = ops.matmul(image, np.where(np.eye(3), 1, -0.5).astype(np.float32))
    mask = ops.cast(excess > 0.25, "float32")
    rows, columns = ops.max(mask, axis=2), ops.max(mask, axis=1)
    edges = [
        ops.argmax(rows, axis=1),
        ops.argmax(columns, axis=1),
        height - ops.argmax(ops.flip(rows, axis=1), axis=1),
        width - ops.argmax(ops.flip(columns, axis=1), axis=1),
    ]
    boxes = ops.cast(ops.stack(edges, axis=2), "float32") / np.array(
        [height, width] * 2, np.float32
    )
    scores = ops.max(excess, axis=(1, 2))[:, :, None] * np.eye(3, dtype=np.float32)
    keras.Model(image, [boxes, scores]).save(repository / "finder" / "1" / "model.keras")
    return repository


def test_every_target_finds_the_same(with_source: Path, tmp_path: Path, run: Command) -> None:
    """Through the source, onnxruntime and the server, raw and encoded, and the report says so."""
    source, out = data_set(tmp_path / "set"), tmp_path / "out.json"
    done = run(
        "crossrun-bench", "accuracy", with_source, "--model", "finder", "--images", source,
        "--output", out, "--targets", "onnxruntime,grpc-raw,grpc-jpeg",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.json", "set"]
    result = store.read(out)
    assert isinstance(result, DetectionResult)
    assert tuple(target.target for target in result.targets) == TARGETS
    assert result.min_score == 0.01
    assert result.truths
    found = [average_precision(result.truths, target.detections) for target in result.targets]
    assert found[0].at_half == pytest.approx(1)
    assert found[0].mean > 0.9
    for own in found:
        assert own.mean == pytest.approx(found[0].mean, abs=0.002)
    first = result.targets[2].detections[0][0].box
    assert first == pytest.approx(result.truths[0][0].box, abs=0.01)
    done = run("crossrun-bench", "report", out, "--markdown", tmp_path / "r.md")
    assert done.returncode == 0, done.stderr
    assert "Detection of 18 objects in 6 pictures" in done.stdout


def test_the_source_finds_the_same_in_every_form(with_source: Path, tmp_path: Path) -> None:
    """TensorFlow's suppression after `predict` and inside a graph, ours after a SavedModel."""
    model = read_model(with_source, "finder")
    files = sorted((data_set(tmp_path / "set") / "pictures").iterdir())
    size = (model.height, model.width)
    pictures = decoded(files, tmp_path / "pixels.npy", size, fit=partial(fitted, model=model))
    batch = pictures.batch(0, len(files))
    forms = ("keras-predict", "tf-function", "saved-model")
    tasks = [Task(form, model, pictures) for form in forms]
    predicted, *others = (runner_for(task).run(batch) for task in converted(tasks, tmp_path))
    assert (predicted[..., 4] > 0).sum() == 18
    for other in others:
        np.testing.assert_allclose(other, predicted, atol=1e-5)


def test_an_interrupted_run_keeps_what_was_found(tmp_path: Path) -> None:
    """Line by line, as of a classifier."""
    out, chunk = tmp_path / "a.json", [((Detection(1, 0.5, BOX),), ()), ((), ())]
    first: Partial[tuple[Detection, ...]] = Partial(out, {"model": "m"}, DetectionsLine)
    first.append(chunk)
    again: Partial[tuple[Detection, ...]] = Partial(out, {"model": "m"}, DetectionsLine)
    assert again.chunks == [tuple(chunk)]


@pytest.mark.parametrize("target", ["grpc-shm", "grpc-typed"])
def test_a_target_that_runs_no_detector_is_told(
    target: str, repository: Path, tmp_path: Path
) -> None:
    """With those that do."""
    asked = Asked(repository, "finder", ("onnxruntime", target))
    text = f"{target} runs no detector: expected some of keras-predict, tf-function, saved-model, "
    with pytest.raises(BenchError, match=text):
        measure(AccuracyPlan(asked, str(data_set(tmp_path / "set")), None), "cmd")


def changed(root: Path, tmp_path: Path, change: Callable[[onnx.ModelProto], None]) -> Path:
    copy = shutil.copytree(root, tmp_path / "models")
    file = copy / "finder" / "1" / "model.onnx"
    model = onnx.load(file)
    change(model)
    onnx.save(model, file)
    return copy


def test_precisions_of_detectors_are_timed_alone(repository: Path, run: Command) -> None:
    """Their answers are boxes, which pictures' classes say nothing of."""
    done = run("crossrun-bench", "precision", repository, "--images", "bundled")
    assert done.returncode == 1
    assert done.stderr.endswith("finder is a detector: `crossrun-bench accuracy` compares boxes\n")
    done = run("crossrun-bench", "precision", repository, "--rounds", 1)
    assert done.returncode == 0, done.stderr


def test_a_detector_that_lacks_something_is_refused(repository: Path, tmp_path: Path) -> None:
    """An output, a threshold in its metadata, or labels."""

    def without_count(model: onnx.ModelProto) -> None:
        del model.graph.output[3]

    def without_thresholds(model: onnx.ModelProto) -> None:
        del model.metadata_props[2]

    with pytest.raises(BenchError, match="expected the outputs num_detections as well"):
        read_model(changed(repository, tmp_path / "a", without_count), "finder")
    with pytest.raises(BenchError, match=r"no readable 'crossrun.detection'"):
        read_model(changed(repository, tmp_path / "b", without_thresholds), "finder")
    copy = shutil.copytree(repository, tmp_path / "c")
    (copy / "finder" / "labels.txt").unlink()
    with pytest.raises(BenchError, match=r"finder: no labels.txt says which classes"):
        measure(AccuracyPlan(Asked(copy, "finder", ("onnxruntime",)), "x", None), "cmd")


def test_a_detector_without_thresholds_of_requests_is_asked_for_its_own(
    repository: Path, tmp_path: Path
) -> None:
    """The result says down to which score."""

    def fixed(model: onnx.ModelProto) -> None:
        del model.graph.input[1:]

    root = changed(repository, tmp_path, fixed)
    (root / "finder" / "config.pbtxt").write_text(detectors.FINDER)
    asked, images = Asked(root, "finder", ("onnxruntime",)), data_set(tmp_path / "set")
    plan = AccuracyPlan(asked, str(images), None)
    result = measure(plan, "cmd")
    assert isinstance(result, DetectionResult)
    assert result.min_score == 0.3


# Boxes there and back.


def detector(resize: str) -> Model:
    own = Detector(resize, 0.3, 0.5, 100, optional=True)
    shape = {"height": 48, "width": 64, "classes": 3}
    kept: dict[str, Any] = dict.fromkeys(Model.__dataclass_fields__, "") | shape
    return Model(**kept | {"detector": own})


@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
@pytest.mark.parametrize("size", [(640, 480), (1, 1), (20000, 10), (37, 501), (64, 48)])
def test_boxes_come_back_to_where_they_were(resize: str, size: tuple[int, int]) -> None:
    """From the picture into the input and back, to a hundredth of a pixel; none leaves it."""
    model = detector(resize)
    rng = np.random.default_rng(1)
    corners = np.sort(rng.uniform(0, 1, (50, 2, 2)), axis=1) * size[::-1]
    boxes = corners.reshape(50, 4)
    into = place(size, model)
    scale = np.tile([into.height / size[1], into.width / size[0]], 2)
    inside = boxes * scale + np.tile([into.top, into.left], 2)
    shares = (inside / np.tile([48, 64], 2)).astype(np.float32)
    limit = max(1.0, max(size) / 64) * 0.01
    assert np.abs(in_picture(shares, size, model) - boxes).max() < limit
    beyond = in_picture(np.array([[-1e4, -1e4, 1e4, 1e4]], np.float32), size, model)
    assert beyond.tolist() == [[0, 0, size[1], size[0]]]


def test_a_letterboxed_picture_has_grey_around_it() -> None:
    """In the middle, its sides scaled alike, 114 elsewhere."""
    pixels = np.asarray(fitted(Image.new("L", (100, 20), 255), detector("letterbox")))
    assert pixels.shape == (48, 64, 3)
    assert (pixels[17:30] == 255).all()
    assert (pixels[:17] == 114).all()
    assert (pixels[30:] == 114).all()


def test_a_cropped_picture_is_its_middle() -> None:
    """Seven eighths of the largest part with the input's aspect, as the server crops it."""
    rng, file = np.random.default_rng(2), io.BytesIO()
    image = Image.fromarray(rng.integers(0, 256, (97, 200, 3), np.uint8))
    image.save(file, "PNG")
    served = images.load(file.getvalue(), Size(48, 64), "crop").pixels
    assert np.array_equal(np.asarray(fitted(image, detector("crop"))), served)


# The report.


def result() -> DetectionResult:
    """Two pictures, of which the last target finds the second's object only."""

    def shown(number: int, folder: Path) -> ShownPicture:
        file = folder / f"{number}.png"
        Image.new("RGB", (400, 300), (90, 90, 90)).save(file)
        return ShownPicture(number, 400, thumbnail(file, 320))

    with tempfile.TemporaryDirectory() as folder:
        kept = tuple(shown(number, Path(folder)) for number in range(2))
    all_found = ((Detection(0, 0.9, BOX),), (Detection(1, 0.8, OTHER),))
    return DetectionResult(
        command="cmd",
        machine=MACHINE,
        model=INFO,
        min_score=0.01,
        pictures=("a.png", "b.png"),
        truths=((Truth(0, BOX),), (Truth(1, OTHER),)),
        left_out=0,
        class_names=("star", "<disc>"),
        targets=(
            TargetDetections("keras-predict", all_found),
            TargetDetections("grpc-jpeg", ((), all_found[1])),
        ),
        shown=kept,
    )


def test_the_report_has_tables_and_pictures(tmp_path: Path) -> None:
    """In the page inside, beside the Markdown in a folder; the result survives its file."""
    made = result()
    store.write(tmp_path / "r.json", made)
    assert store.read(tmp_path / "r.json") == made
    page = html.render(chapters([made]))
    assert page.count('<img src="data:image/jpeg;base64,') == 2
    assert "&lt;disc&gt;" in page
    markdown.write(tmp_path / "r.md", chapters([made]))
    text = (tmp_path / "r.md").read_text()
    assert "| Keras predict | 1.0000 | 1.0000 |" in text
    assert "| gRPC server, JPEG | 0.5000 | 0.5000 | -0.5000 | 1 |" in text
    assert "| star | 1 | 1.0000 | 0.0000 |" in text
    assert "![b.png](r-pictures/1-2.jpg)" in text
    with Image.open(tmp_path / "r-pictures" / "1-1.jpg") as both:
        pixels = np.asarray(both).astype(int)
    left, right = pixels[:, :320], pixels[:, -320:]
    assert np.abs(left - 90).max() < 9
    assert np.abs(right - 90).max() > 60


def test_a_result_without_pictures_is_reported() -> None:
    """Nothing is said of any."""
    bare = replace(result(), shown=())
    assert "What was found" not in html.render(chapters([bare]))
    assert "What was found" not in markdown.render(chapters([bare]), "p")


@pytest.mark.long
def test_the_bundled_detector_is_served_as_well_as_it_was_trained(
    exported_detectors: Path, tmp_path: Path, run: Command
) -> None:
    """On the held-out series mean average precision is Keras's within 0.002 on every way."""
    source, out = tmp_path / "scenes", tmp_path / "out.json"
    options = ["--objects", "several", "--seed", 1000003, "--size", 160, "--count", 48]
    assert run("crossrun-export", "pictures", source, *options).returncode == 0
    done = run(
        "crossrun-bench", "accuracy", exported_detectors, "--model", "detector", "--images", source,
        "--output", out, "--targets", "litert,onnxruntime,grpc-raw,grpc-jpeg",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    kept = store.read(out)
    assert isinstance(kept, DetectionResult)
    assert kept.truths
    source_model, *others = (average_precision(kept.truths, t.detections) for t in kept.targets)
    assert source_model.at_half > 0.85
    assert source_model.mean > 0.55
    for own in others:
        assert own.mean == pytest.approx(source_model.mean, abs=0.002)
        assert own.at_half == pytest.approx(source_model.at_half, abs=0.002)
