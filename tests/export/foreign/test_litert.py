"""LiteRT files as sources: what is converted answers as LiteRT itself does."""

import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from crossrun_export import runtime
from crossrun_export.errors import ExportError
from crossrun_export.foreign import litert, postprocess
from crossrun_export.foreign.steps import Steps
from crossrun_export.scaling import CHOICES
from tests.support import litert_models
from tests.support.litert_models import SIDE
from tests.support.workers import made_once

UNIT = CHOICES["0..1"]
COLOURS = np.random.default_rng(2).integers(0, 256, (12, 1, 1, 3), np.uint8)
PIXELS = np.broadcast_to(COLOURS, (12, 16, 16, 3))
STEP = 1 / 256  # of a quantized softmax


@pytest.fixture(scope="module")
def files(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """KIND.tflite, a classifier of four classes."""
    return made_once(pytestconfig, tmp_path_factory, "litert", litert_models.classifiers)


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [("float32", 1e-5), ("float16", 1e-5), ("dynamic", 2e-2), ("int8", STEP), ("uint8", STEP)],
)
def test_the_graph_answers_as_litert_does(files: Path, kind: str, allowed: float) -> None:
    """In real numbers, whatever the file computes in; quantized ones to a step of their scores."""
    source = litert.load(files / f"{kind}.tflite")
    assert (source.picture.dtype.name, source.picture.size) == ("float32", (16, 16))
    inputs = UNIT.apply(PIXELS)
    (expected,) = source.ask(inputs).values()
    (got,) = runtime.outputs(source.graph, inputs).values()
    assert expected.dtype == got.dtype == np.float32
    assert np.ptp(expected, axis=0).max() > 0.1  # or it would say little
    np.testing.assert_allclose(got, expected, rtol=0, atol=1.01 * allowed)


def test_a_quantized_file_says_so(files: Path) -> None:
    """What computes in eight bits is held against another tolerance than floats are."""
    kinds = {kind: litert.load(files / f"{kind}.tflite").computes for kind in litert_models.KINDS}
    assert kinds == {
        "float32": "float32",
        "float16": "float32",
        "dynamic": "int8",
        "int8": "int8",
        "uint8": "int8",
    }


def test_whole_numbers_tell_which_pixels_they_are(files: Path) -> None:
    """uint8 takes pixels as they come, int8 a range that models are trained on; floats say none."""
    found = {kind: litert.load(files / f"{kind}.tflite").pixels for kind in litert_models.KINDS}
    assert found["float32"] is found["float16"] is found["dynamic"] is None
    assert found["uint8"] is not None
    assert (found["uint8"].scaling, found["uint8"].because) == (UNIT, "its input is uint8")
    assert found["int8"] is not None
    assert (found["int8"].scaling, found["int8"].because) == (
        UNIT,
        "its int8 input stands for 0..1",
    )


def test_pixels_of_a_uint8_input_arrive_as_they_are() -> None:
    """Whatever step and zero stand for, the scaling that they tell makes no other byte of any."""
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
    for size, zero in ((1 / 255, 0), (1 / 128, 128), (2 / 255, 128), (0.0171, 114), (3.0, 7)):
        steps = Steps(float(np.float32(size)), zero, np.dtype(np.uint8))
        told = litert._told(steps)
        assert told is not None
        assert np.array_equal(steps.numbers(told.scaling.apply(pixels)), pixels)


def test_an_int8_input_of_another_range_tells_nothing() -> None:
    """A range that no model is known to be trained on may be anything: --pixels has to say it."""
    assert litert._told(Steps(0.0186, -14, np.dtype(np.int8))) is None
    told = litert._told(Steps(2 / 255, 0, np.dtype(np.int8)))
    assert told is not None
    assert told.scaling == CHOICES["-1..1"]


def test_labels_packed_into_a_file_are_found(files: Path, tmp_path: Path) -> None:
    """LiteRT's metadata append an archive; of several lists none can be told to be the labels."""
    path = tmp_path / "packed.tflite"
    path.write_bytes((files / "float32.tflite").read_bytes())
    assert litert.load(path).labels == ()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "red\ngreen\nblue\nnone\n")
    assert litert.load(path).labels == ("red", "green", "blue", "none")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("vocabulary.txt", "other\n")
    assert litert.load(path).labels == ()


def test_the_file_is_kept_as_it_is(files: Path, tmp_path: Path) -> None:
    source = litert.load(files / "int8.tflite")
    source.save(tmp_path)
    assert (tmp_path / source.file).read_bytes() == (files / "int8.tflite").read_bytes()


COUNT = "PartitionedCall:3"  # the fourth output, of how many there are


# --- TFLite_Detection_PostProcess ------------------------------------------------------------


@pytest.mark.parametrize("score", [0.0, 0.3, 0.7])
@pytest.mark.parametrize("regular", [False, True], ids=["fast", "regular"])
def test_suppression_is_litert_s(regular: bool, score: float, tmp_path: Path) -> None:
    """Both of its ways: boxes by their best class, and each class on its own."""
    path = tmp_path / "detector.tflite"
    path.write_bytes(litert_models.detector(regular=regular, score=score))
    source = litert.load(path)
    pixels = np.random.default_rng(4).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
    counts = set()
    for picture in UNIT.apply(pixels)[:, None]:
        expected, found = source.ask(picture), runtime.outputs(source.graph, picture)
        number = int(expected[COUNT][0])
        assert found[COUNT].tolist() == [number]
        counts.add(number)
        for name in set(expected) - {COUNT}:
            assert found[name].shape == expected[name].shape
            np.testing.assert_allclose(
                found[name][0, :number], expected[name][0, :number], rtol=0, atol=1e-5
            )
    assert max(counts) > 1


def test_several_classes_of_a_box_are_refused() -> None:
    """Two runtimes of LiteRT fill the rows of such an operation in different ways."""
    node = onnx.helper.make_node("X", ["a", "b", "c"], ["d"], max_classes_per_detection=2)
    with pytest.raises(ExportError, match="2 classes for each box cannot be exported"):
        postprocess._function(node)


# --- What is refused -------------------------------------------------------------------------


def test_what_is_no_litert_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"none\.tflite is not a file; expected a LiteRT model"):
        litert.load(tmp_path / "none.tflite")
    for content in (b"", b"no model at all", b"\0" * 64):
        (tmp_path / "text.tflite").write_bytes(content)
        with pytest.raises(ExportError, match=r"text\.tflite is no model that LiteRT runs"):
            litert.load(tmp_path / "text.tflite")
