"""Models that no Keras model is the original of: measured beside their own, or refused in words."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from PIL import Image

from crossrun_bench import store
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.detection.likeness import likenesses, together
from crossrun_bench.measurements.detection.result import DetectionResult
from crossrun_bench.measurements.latency.result import LatencyResult
from crossrun_bench.measurements.latency.summary import summarise
from crossrun_bench.models.repository import read_model
from crossrun_bench.pictures.pictures import Pictures
from crossrun_bench.pictures.prepare import drawn
from crossrun_bench.targets.targets import runner_for
from crossrun_bench.targets.task import Task
from tests.support import detectors, originals, proofs
from tests.support.coco import COLOURS, data_set
from tests.support.running import Command
from tests.support.workers import made_once


@pytest.fixture(scope="session")
def finders(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Detectors of a SavedModel, of a LiteRT file and of an ONNX file, beside these."""
    return made_once(pytestconfig, tmp_path_factory, "finders", originals.write_detectors)


@pytest.fixture(scope="session")
def classifiers(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classifiers of a LiteRT file in int8 and of an ONNX file whose channels come first."""
    return made_once(pytestconfig, tmp_path_factory, "of-others", originals.write_classifiers)


@pytest.mark.long
def test_a_detector_is_compared_with_its_saved_model(
    finders: Path, tmp_path: Path, run: Command
) -> None:
    """By every way that runs it: what one is sure of the others find, there and as sure."""
    source, out = data_set(tmp_path / "set"), tmp_path / "out.json"
    done = run(
        "crossrun-bench", "accuracy", finders, "--model", "of-saved-model", "--images", source,
        "--output", out, "--targets", "litert,onnxruntime,grpc-raw,grpc-jpeg",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, DetectionResult)
    names = ["saved-model", "litert", "onnxruntime", "grpc-raw", "grpc-jpeg"]
    assert [target.target for target in result.targets] == names
    assert result.min_score == 0.01
    assert result.sure == 0.3
    for target in range(1, 5):
        found = together(likenesses(result, target))
        assert found.sure == found.alike == 36  # three objects in six pictures, on both sides
        assert found.score < 1e-5
        assert found.corner < 1e-2
    shown = run("crossrun-bench", "report", out).stdout
    assert "F1 is best, 1.0000, from a score of" in " ".join(shown.split())


@pytest.mark.parametrize("name", ["of-litert", "of-onnx"])
def test_the_file_of_a_detector_finds_what_is_served(
    finders: Path, tmp_path: Path, run: Command, name: str
) -> None:
    """On photographs that nobody has drawn boxes for, one at a time; the report says so."""
    source, out = data_set(tmp_path / "set") / "pictures", tmp_path / "out.json"
    words = ["accuracy", finders, "--model", name, "--images", source, "--output", out]
    done = run("crossrun-bench", *words, "--targets", "onnxruntime")
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, DetectionResult)
    assert result.truths is None
    found = together(likenesses(result, 1))
    assert found.sure == found.alike == 36
    told = " ".join(
        run("crossrun-bench", "report", out, "--markdown", tmp_path / "r.md").stdout.split()
    )
    assert "No mAP: no JSON of boxes in COCO's form says what the pictures show." in told
    assert "Likeness to" in told
    assert "mAP@0.5" not in told


def test_the_original_is_timed_beside_what_is_served(
    finders: Path, tmp_path: Path, run: Command
) -> None:
    """By default, one picture at a time if it takes no more; the ratios are to the original."""
    out = tmp_path / "l.json"
    words = ["latency", finders, "--model", "of-litert", "--rounds", 1, "--output", out]
    done = run("crossrun-bench", *words)
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, LatencyResult)
    names = ["litert", "onnxruntime", "grpc-raw", "grpc-jpeg"]
    assert [target.target for target in result.targets] == names
    rows = summarise(result).rows
    assert [row.batch for row in rows] == [1] * 4
    assert [list(row.faster_than) for row in rows] == [[], ["litert"], ["litert"], ["litert"]]
    assert "| Speed, LiteRT = 1 |" in _markdown(out, tmp_path, run)


def _markdown(result: Path, folder: Path, run: Command) -> str:
    file = folder / "r.md"
    assert run("crossrun-bench", "report", result, "--markdown", file).returncode == 0
    return file.read_text()


def test_openvino_runs_the_served_detector(finders: Path, tmp_path: Path) -> None:
    """It finds what onnxruntime finds."""
    model = read_model(finders, "of-saved-model")
    pictures = _rectangles(tmp_path, model.height, model.width)
    batch = pictures.batch(0, 2)
    expected, got = (
        runner_for(Task(target, model, pictures)).run(batch)
        for target in ("onnxruntime", "openvino")
    )
    assert (expected[..., 4] > 0.3).any()
    np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize(
    "words",
    [
        ["load", "--model", "of-litert", "--targets", "litert", "--seconds", 0.1, "--rounds", 1],
        ["throughput", "--model", "of-litert", "--providers", "cpu", "--seconds", 0.05],
        ["precision", "--model", "of-litert", "--rounds", 1],
    ],
    ids=lambda words: str(words[0]),
)
def test_every_measurement_knows_models_of_other_runtimes(
    finders: Path, run: Command, words: list[object]
) -> None:
    """Also one that takes a picture at a time."""
    command, *options = words
    done = run("crossrun-bench", command, finders, *options, "--json")
    assert done.returncode == 0, done.stderr
    assert "cannot" not in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["latency", "--model", "of-litert", "--batch", "1,8"],
            "--batch '1,8': of-litert takes one picture at a time",
        ),
        (
            ["latency", "--model", "of-onnx", "--targets", "litert"],
            "litert runs a Keras model or a SavedModel or a LiteRT file, and of-onnx was made from "
            "an ONNX file: expected some of onnx-original, onnxruntime, openvino, grpc-raw, "
            "grpc-jpeg",
        ),
        (
            ["load", "--model", "of-saved-model", "--targets", "tf-function"],
            "tf-function runs a Keras model, and of-saved-model was made from a SavedModel",
        ),
        (
            ["load", "--model", "of-saved-model", "--form", "jpeg"],
            "--form 'jpeg': of-saved-model is a detector: expected raw or typed",
        ),
        (
            ["throughput", "--model", "of-onnx", "--batch", "2"],
            "--batch '2': of-onnx takes one picture at a time",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(
    finders: Path, run: Command, words: list[object], said: str
) -> None:
    """In a line that says what can."""
    command, *options = words
    done = run("crossrun-bench", command, finders, *options)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert said in line


def test_an_original_that_is_not_there_is_missed(
    finders: Path, tmp_path: Path, run: Command
) -> None:
    """By its name; what needs none of it is measured."""
    copy = shutil.copytree(finders, tmp_path / "models")
    (copy / "of-onnx" / "1" / "source.onnx").unlink()
    options = ["--model", "of-onnx", "--rounds", 1]
    done = run("crossrun-bench", "latency", copy, *options)
    assert done.returncode == 1
    assert "source.onnx is not there, the original: expected targets of onnxruntime" in done.stderr
    assert (
        run("crossrun-bench", "latency", copy, *options, "--targets", "onnxruntime").returncode == 0
    )


def test_a_saved_model_is_told_how_far_it_is_off_its_proof(
    finders: Path, tmp_path: Path, run: Command
) -> None:
    """And timed, for it is the original; what is made of it is held to the proof."""
    copy, out = shutil.copytree(finders, tmp_path / "models"), tmp_path / "l.json"
    version = copy / "of-saved-model" / "1"
    session = onnxruntime.InferenceSession(version / "model.onnx")
    names = [output.name for output in session.get_outputs()]
    pictures = _rectangles(tmp_path, detectors.HEIGHT, detectors.WIDTH).batch(0, 2).pixels
    found = dict(zip(names, session.run(names, {"image": pictures}), strict=True))
    found["detection_scores"] = np.maximum(found["detection_scores"] - np.float32(0.05), 0)
    arrays = {"input/image": pictures} | {f"output/{name}": a for name, a in found.items()}
    told = {"max_diff": {"detections": 1e-4}, "detections": {"score_threshold": 0.3}}
    proofs.write(version, arrays, **told)
    words = ["latency", copy, "--model", "of-saved-model", "--batch", 1, "--rounds", 1]
    done = run("crossrun-bench", *words, "--targets", "saved-model", "--output", out)
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, LatencyResult)
    (target,) = result.targets
    assert target.proof
    assert target.proof.difference == pytest.approx(0.05, abs=1e-4)
    done = run("crossrun-bench", *words, "--targets", "onnxruntime")
    assert done.returncode == 1
    assert "ONNX Runtime is off by 0.05 from the original on 2 pictures" in done.stderr


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("runtime", "torch", "unknown runtime 'torch' of its original: expected one of keras, ten"),
        ("layout", None, "'crossrun.source' does not say how its original's outputs are read"),
        ("layout", {"layout": "rows"}, "no readable 'crossrun.source'"),
    ],
)
def test_what_a_file_says_of_its_original_is_checked(
    finders: Path, tmp_path: Path, key: str, value: object, said: str
) -> None:
    copy = shutil.copytree(finders / "of-onnx", tmp_path / "of-onnx")
    model = onnx.load(copy / "1" / "model.onnx")
    (told,) = (one for one in model.metadata_props if one.key == "crossrun.source")
    told.value = json.dumps(json.loads(told.value) | {key: value})
    onnx.save(model, copy / "1" / "model.onnx")
    with pytest.raises(BenchError, match=said):
        read_model(tmp_path, "of-onnx")


@pytest.mark.parametrize(("name", "most"), [("of-litert", 0.02), ("of-onnx", 1e-6)])
def test_a_classifier_is_compared_with_its_file(
    classifiers: Path, tmp_path: Path, run: Command, name: str, most: float
) -> None:
    """Channels first, or in whole numbers that stand for real ones: the classes are the same."""
    for colour, rgb in COLOURS.items():
        (tmp_path / "set" / colour).mkdir(parents=True)
        Image.new("RGB", (8, 8), rgb).save(tmp_path / "set" / colour / "1.png")
    out = tmp_path / "out.json"
    words = ["accuracy", classifiers, "--model", name, "--images", tmp_path / "set"]
    done = run("crossrun-bench", *words, "--targets", "onnxruntime", "--output", out)
    assert done.returncode == 0, done.stderr
    result = store.read(out)
    assert isinstance(result, AccuracyResult)
    for target in result.targets:
        assert [answer.top5[0] for answer in target.answers] == [result.labels[i] for i in range(3)]  # type: ignore[index]
        assert max(answer.difference for answer in target.answers) < most
    called = {"of-litert": "LiteRT", "of-onnx": "ONNX file as it was"}[name]
    assert f"Agrees with {called}" in _markdown(out, tmp_path, run)


def _rectangles(folder: Path, height: int, width: int) -> Pictures:
    pictures = drawn(folder, 2, height, width)
    pixels = np.full((2, height, width, 3), 90, np.uint8)
    pixels[:, 10:30, 5:25] = (255, 0, 0)
    pixels[1, 20:40, 30:60] = (0, 0, 255)
    np.save(folder / "pixels.npy", pixels)
    return pictures
