"""crossrun-export saved-model: what is taken, what is written, what is refused."""

import io
import re
import subprocess
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import onnx
import pytest
from PIL import Image

from crossrun.v1.vision_pb2_grpc import VisionStub
from crossrun_export.backend import tensorflow as tf
from crossrun_export.detector import check
from crossrun_export.detector.measure import Detections
from crossrun_export.errors import ExportError
from crossrun_export.foreign import saved_model
from crossrun_export.foreign.entrance import Pixels
from tests.support import coco, saved_models, vision
from tests.support.metadata import metadata
from tests.support.running import run_here, serving
from tests.support.workers import made_once

PARTS = ["config.pbtxt", "labels.txt", "1"]


def export(folder: Path, output: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """The command, verified on fewer pictures than else."""
    command = ["crossrun-export", "saved-model", folder, "--output", output, *words]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crossrun_export.foreign.pictures.FEW", 9)
        return run_here(list(map(str, command)))


def refused(done: subprocess.CompletedProcess[str], output: Path) -> str:
    """The last line of an export that wrote nothing, which says why."""
    assert done.returncode == 1, done.stderr
    assert not output.exists() or list(output.iterdir()) == []
    line = done.stderr.splitlines()[-1]
    assert line.startswith("crossrun-export: ")
    return line.removeprefix("crossrun-export: ")


def told(done: subprocess.CompletedProcess[str]) -> str:
    """What an export says, in one line."""
    assert done.returncode == 0, done.stderr
    return " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("labels") / "labels.txt"
    file.write_text("".join(f"{label}\n" for label in saved_models.LABELS))
    return file


@pytest.fixture(scope="module")
def of_rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_models.of_rows(tmp_path_factory.mktemp("rows") / "saved_model")


@pytest.fixture(scope="session")
def of_the_api(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector as TensorFlow's API exports it, and a repository with nothing said but labels."""

    def make(folder: Path) -> None:
        source = saved_models.of_the_api(folder / "ssd" / "saved_model")
        (folder / "labels").write_text("\n".join(saved_models.LABELS))
        done = export(source, folder / "models", "--labels", folder / "labels")
        (folder / "told").write_text(told(done))

    return made_once(pytestconfig, tmp_path_factory, "of-the-api", make)


# --- What is written -------------------------------------------------------------------------


def test_a_detector_of_the_api_needs_nothing_but_labels(of_the_api: Path) -> None:
    """Its name, pixels, layout and first class are found, and TensorFlow finds the same."""
    said = (of_the_api / "told").read_text()
    assert "pixels 0..255: its input is uint8" in said
    assert "classes 1 to 3" in said
    assert re.search(r"finds the same \d+ objects as TensorFlow in 9 pictures", said)
    model = of_the_api / "models" / "ssd"
    assert sorted(file.name for file in model.iterdir()) == sorted(PARTS)
    assert (model / "labels.txt").read_text().split() == saved_models.LABELS
    assert sorted(file.name for file in (model / "1").iterdir()) == [
        "model.onnx", "proof.npz", "saved_model",
    ]  # fmt: skip
    graph = onnx.load(model / "1" / "model.onnx").graph
    image, *options = graph.input
    shape = [side.dim_param or side.dim_value for side in image.type.tensor_type.shape.dim]
    assert shape == ["batch", "height", "width", 3]
    assert {one.name for one in options} == {"score_threshold", "max_detections"}


def test_the_file_says_how_its_source_is_asked_and_read(of_the_api: Path) -> None:
    """So that whoever measures asks the same function, and reads its outputs alike."""
    said = metadata(of_the_api / "models" / "ssd" / "1" / "model.onnx")
    source = said["source"]
    assert source["runtime"] == "tensorflow"
    assert (source["file"], source["signature"]) == ("saved_model", "serving_default")
    assert (source["input"], source["dtype"], source["axes"]) == ("input_tensor", "uint8", "NHWC")
    assert source["layout"]["layout"] == "tensorflow"
    assert source["layout"]["numbers"] == [1, 2, 3]
    copy = saved_model.load(of_the_api / "models" / "ssd" / "1" / source["file"], None)
    assert copy.sha256 == source["sha256"]
    assert said["parity"]["detections"] > 5


def test_a_served_detector_finds_what_tensorflow_finds(of_the_api: Path, log_file: Path) -> None:
    """In pictures of any size, with boxes in the pictures as they were sent."""
    source = tf.saved_model.load(str(of_the_api / "ssd" / "saved_model"))
    pictures = [picture(150, 200), picture(101, 77)]
    with (
        serving(of_the_api / "models", log_file) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = VisionStub(channel)
        for pixels in pictures:
            reply = vision.detect(stub, png(pixels), model="ssd")
            expected = source.signatures["serving_default"](tf.constant(pixels[None]))
            (found,) = reply.results
            count = int((expected["detection_scores"][0] > 0.3).numpy().sum())
            assert len(found.detections) == count == 2
            height, width, _ = pixels.shape
            for place, one in enumerate(found.detections):
                number = int(expected["detection_classes"][0, place])
                assert one.label == saved_models.LABELS[number - 1]
                top, left, bottom, right = expected["detection_boxes"][0, place].numpy()
                box = np.array([left * width, top * height, right * width, bottom * height])
                assert np.abs(np.array(vision.corners(one)) - box).max() < 0.01


def test_a_size_can_be_fixed_where_the_model_takes_any(
    of_the_api: Path, labels: Path, tmp_path: Path
) -> None:
    source = of_the_api / "ssd" / "saved_model"
    told(export(source, tmp_path / "m", "--labels", labels, "--size", "96x160"))
    graph = onnx.load(tmp_path / "m" / "ssd" / "1" / "model.onnx").graph
    sides = graph.input[0].type.tensor_type.shape.dim[1:]
    assert [side.dim_value for side in sides] == [96, 160, 3]


def test_rows_share_a_run_where_they_are_independent(
    of_rows: Path, labels: Path, tmp_path: Path
) -> None:
    """Although the source takes one picture at a time."""
    done = export(of_rows, tmp_path / "m", "--labels", labels, "--pixels", "0..255", "--name", "r")
    assert done.returncode == 0, done.stderr
    config = (tmp_path / "m" / "r" / "config.pbtxt").read_text()
    assert "max_batch_size: 32" in config
    assert "dynamic_batching" in config


def test_rows_that_mix_are_served_one_by_one(labels: Path, tmp_path: Path) -> None:
    """Although the source takes any number."""
    source = saved_models.that_mixes(tmp_path / "mixing")
    done = export(source, tmp_path / "m", "--labels", labels, "--pixels", "0..255")
    assert done.returncode == 0, done.stderr
    config = (tmp_path / "m" / "mixing" / "config.pbtxt").read_text()
    assert "max_batch_size: 0" in config
    assert "dims: [ 1, 48, 64, 3 ]" in config
    assert "dynamic_batching" not in config
    with serving(tmp_path / "m", tmp_path / "log"):  # where it loads, its proof holds
        pass


def test_numbers_with_gaps_become_lines_of_labels(of_rows: Path, tmp_path: Path) -> None:
    """labels.txt has no gaps; the file says which number is which line."""
    labels = tmp_path / "labels"
    labels.write_text("red\ngreen\nblue\nN/A\nviolet\n")
    words = "--labels", labels, "--pixels", "0..255", "--name", "gaps", "--first-class", "0"
    done = export(of_rows, tmp_path / "m", *words)
    assert done.returncode == 0, done.stderr
    model = tmp_path / "m" / "gaps"
    assert (model / "labels.txt").read_text().split() == ["red", "green", "blue", "violet"]
    said = metadata(model / "1" / "model.onnx")["source"]["layout"]
    assert said["numbers"] == [0, 1, 2, 4]


def test_reduced_precisions_tell_their_price_in_agreement(
    of_rows: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pictures have no labels, what the source finds is what counts."""
    monkeypatch.setattr("crossrun_export.foreign.pictures.PLENTY", 12)
    words = "--labels", labels, "--pixels", "0..255", "--name", "r", "--precision", "int8,fp16"
    said = told(export(of_rows, tmp_path / "m", *words))
    for name in ("r-int8", "r-fp16"):
        price = metadata(tmp_path / "m" / name / "1" / "model.onnx")["price"]
        assert price["images"] == 12
        assert 0.8 <= price["agreement"] <= 1
    assert said.count("detections in 12 pictures without labels") == 2


def test_reduced_precisions_tell_their_price_in_map(
    of_rows: Path, labels: Path, tmp_path: Path
) -> None:
    """Where a COCO data set says what pictures show."""
    data = scenes(tmp_path / "scenes")
    words = ("--labels", labels, "--pixels", "0..255", "--name", "r", "--precision", "fp16",
             "--data", data)  # fmt: skip
    done = export(of_rows, tmp_path / "m", *words)
    assert done.returncode == 0, done.stderr
    price = metadata(tmp_path / "m" / "r-fp16" / "1" / "model.onnx")["price"]
    assert price["map_at_half"] > 0.9
    assert abs(price["map_change"]) < 0.01


# --- What is refused -------------------------------------------------------------------------


def test_a_folder_without_a_saved_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"is no SavedModel; expected a folder with saved_model"):
        saved_model.load(tmp_path, None)


def test_a_damaged_saved_model_is_refused(of_rows: Path, tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes((of_rows / "saved_model.pb").read_bytes()[:200])
    with pytest.raises(ExportError, match="TensorFlow cannot load"):
        saved_model.load(tmp_path, None)


def test_signatures_that_answer_differently_have_to_be_chosen(tmp_path: Path) -> None:
    """One function under two names needs no choice."""
    functions = {
        "found": lambda images: {"found": images * 2},
        "again": lambda images: {"found": images * 2},
        "other": lambda images: {"found": images * 3},
    }
    several = saved_models.of_functions(tmp_path / "several", **functions)
    with pytest.raises(
        ExportError, match=r"answer differently: .*other.*; name one by --signature"
    ):
        saved_model.load(several, None)
    with pytest.raises(ExportError, match=r"no signature 'none'; it has .*found"):
        saved_model.load(several, "none")
    assert saved_model.load(several, "other").signature == "other"
    del functions["other"]
    alike = saved_models.of_functions(tmp_path / "alike", **functions)
    assert saved_model.load(alike, None).signature in {"found", "again"}


def test_a_model_that_takes_no_picture_alone_is_refused(tmp_path: Path) -> None:
    """The message lists what its signatures take."""
    module = tf.Module()
    specs = [tf.TensorSpec([1, 8, 8, 3], tf.float32, name=name) for name in ("left", "right")]

    @tf.function(input_signature=specs)  # type: ignore[untyped-decorator]
    def serve(left: object, right: object) -> dict[str, object]:
        return {"sum": tf.add(left, right)}

    saved_models.save(module, tmp_path / "two", serve)
    with pytest.raises(ExportError, match=r"no signature takes a picture alone.*'left' float32 \("):
        saved_model.load(tmp_path / "two", None)


def test_operations_that_onnx_lacks_are_named(tmp_path: Path) -> None:
    source = saved_models.of_functions(
        tmp_path / "bessel", serve=lambda images: {"found": tf.math.bessel_i0e(images)}
    )
    with pytest.raises(ExportError, match="ONNX has nothing for TensorFlow's BesselI0e"):
        saved_model.load(source, None)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), r"nothing tells which range; say it by --pixels"),
        (("--pixels", "0..300"), r"--pixels '0..300': expected 0..255, "),
        (("--pixels", "0..255", "--size", "8"), r"--size '8': expected HEIGHTxWIDTH"),
        (("--pixels", "0..255", "--size", "32x32"), r"takes pictures of 48x64"),
        (("--pixels", "0..255", "--part", "rows"), r"--part 'rows': expected PART=OUTPUT"),
        (("--pixels", "0..255", "--part", "rows=lost"), r"--part rows=lost: expected one of"),
        (("--pixels", "0..255", "--first-class", "1"), r"class 0 was found, and the 3 labels"),
        (("--pixels", "0..255", "--precision", "int7"), r"--precision 'int7'"),
        (("--pixels", "0..255", "--max-map-drop", "1"), r"--max-map-drop is for int8 and fp16"),
        (("--pixels", "0..255", "--name", "a/b"), r"is no name for a model"),
    ],
)
def test_what_is_not_known_is_refused_in_one_line(
    of_rows: Path, labels: Path, tmp_path: Path, words: tuple[str, ...], expected: str
) -> None:
    """It names the option that settles it, and nothing is written."""
    line = refused(export(of_rows, tmp_path / "m", "--labels", labels, *words), tmp_path / "m")
    assert re.search(expected, line), line


def test_labels_have_to_be_there_and_to_fit(of_rows: Path, tmp_path: Path) -> None:
    words = "--pixels", "0..255"
    line = refused(export(of_rows, tmp_path / "m", *words), tmp_path / "m")
    assert line.endswith("has no labels; name a file of them by --labels")
    (tmp_path / "few").write_text("red\ngreen\n")
    done = export(of_rows, tmp_path / "m", *words, "--labels", tmp_path / "few")
    assert "--first-class says" in refused(done, tmp_path / "m")


def test_a_detector_that_finds_nothing_is_held_by_what_it_returns(
    labels: Path, tmp_path: Path
) -> None:
    """Before any detection is made of it; zeros alone prove nothing."""
    words = "--labels", labels, "--pixels", "0..255", "--first-class", "0", "--box-unit", "pixels"
    blind = saved_models.of_rows(tmp_path / "blind", scores=0.0)
    said = told(export(blind, tmp_path / "m", *words))
    assert "finds nothing in 9 pictures, as TensorFlow; its outputs are equal" in said
    zero = saved_models.of_rows(tmp_path / "zero", scores=0.0, boxes=0.0)
    line = refused(export(zero, tmp_path / "z", *words), tmp_path / "z")
    assert line.startswith("the detector answers 9 pictures with zeros, which proves nothing; give")


def test_a_graph_that_finds_something_else_is_not_written(
    of_rows: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst picture is named."""
    found = check.found

    def wrong(*given: Any) -> Detections:
        right = found(*given)
        right.boxes[7] += np.float32(0.01)
        return right

    monkeypatch.setattr(check, "found", wrong)
    folder = pictures_in(tmp_path / "pictures", 9)
    words = "--labels", labels, "--pixels", "0..255", "--images", folder
    line = refused(export(of_rows, tmp_path / "m", *words), tmp_path / "m")
    assert re.search(r"differ by up to 0.01 in score or place.*the worst is 7\.png", line), line


def test_a_precision_that_finds_too_little_is_not_written(
    of_rows: Path, labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is what goes with it."""
    monkeypatch.setattr("crossrun_export.half.to_fp16", _of_nothing)
    words = ("--labels", labels, "--pixels", "0..255", "--images",
             pictures_in(tmp_path / "pictures", 3), "--precision", "fp32,fp16")  # fmt: skip
    line = refused(export(of_rows, tmp_path / "m", *words), tmp_path / "m")
    assert line.startswith("fp16 agrees with the source on 0.00% of the detections in 3 pictures")


def _of_nothing(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, whose weights are zero."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 4:
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(np.zeros(tensor.dims, np.float32), tensor.name)
            )
    return copy


def picture(height: int, width: int, at: int = 10) -> Pixels:
    """A red and a green rectangle on grey."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    pixels[at : at + 30, 12:50] = (220, 30, 30)
    pixels[50:90, 30 : 30 + 2 * at] = (30, 200, 30)
    return pixels


def pictures_in(folder: Path, count: int) -> Path:
    folder.mkdir()
    for place in range(count):
        Image.fromarray(picture(96, 128, 10 + place)).save(folder / f"{place}.png")
    return folder


def scenes(folder: Path) -> Path:
    """A COCO data set of six such pictures."""
    categories = [{"id": 10 + place, "name": name} for place, name in enumerate(coco.COLOURS)]
    coco.data_set(folder, {"categories": categories})
    return (folder / "boxes.json").rename(folder / "pictures" / "boxes.json").parent


def png(pixels: Pixels) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
