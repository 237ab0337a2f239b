"""Pictures and labels of a measurement: which files are taken, what they show, what is told."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from crossrun_bench.client.detect import listed as detected
from crossrun_bench.errors import BenchError
from crossrun_bench.measurements.accuracy.measure import measure
from crossrun_bench.measurements.answers.classes import compared
from crossrun_bench.measurements.answers.run import AccuracyPlan
from crossrun_bench.measurements.detection import coco
from crossrun_bench.models import labels
from crossrun_bench.models.repository import read_labels, read_model
from crossrun_bench.pictures.decoding import loaded
from crossrun_bench.pictures.prepare import listed
from crossrun_bench.report.gallery import gallery
from crossrun_bench.targets.examples import examples
from crossrun_bench.targets.subjects import Asked
from crossrun_bench.targets.task import Task
from tests.support.label_files import INSIDE, WRITTEN
from tests.support.pictures import COLOURS

NAMES = tuple(COLOURS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A picture of each colour in a folder of its name; above it is a folder that is hidden."""
    for name, pixel in COLOURS.items():
        (tmp_path / ".cache" / "images" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), pixel).save(tmp_path / ".cache" / "images" / name / "a.png")
    return tmp_path / ".cache" / "images"


def hide(folder: Path, place: str) -> None:
    """Put a copy of a picture where nobody is meant to see it."""
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / NAMES[0] / "a.png", folder / place)


FINDERS: list[Callable[[Path], Any]] = [
    lambda folder: len(listed([folder])),
    lambda folder: len(detected([folder], None)),
    lambda folder: len(gallery(folder)),
    lambda folder: examples(folder, NAMES).labels,
]


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize(
    "place",
    [
        f"{NAMES[0]}/.ipynb_checkpoints/a-checkpoint.png",
        ".ipynb_checkpoints/a-checkpoint.png",
        f"{NAMES[0]}/._a.png",
        f"__MACOSX/{NAMES[0]}/a.png",
    ],
)
def test_hidden_files_are_no_pictures(
    folder: Path, place: str, find: Callable[[Path], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every finder of files passes them over, counts and tells them."""
    before = find(folder)
    assert capsys.readouterr().err == ""
    hide(folder, place)
    assert find(folder) == before
    assert capsys.readouterr().err == f"crossrun-bench: passed over 1 hidden file in {folder}\n"


def test_no_picture_is_passed_over_in_silence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of a linked folder are found, an unsupported one is told, a lost one is an error."""
    before = listed([folder])
    (folder / NAMES[0]).rename(tmp_path / "elsewhere")
    (folder / NAMES[0]).symlink_to(tmp_path / "elsewhere")
    (folder / NAMES[1] / "around").symlink_to(folder)
    Image.new("RGB", (8, 8)).save(folder / NAMES[1] / "b.bmp")
    assert listed([folder]) == before
    told = f"crossrun-bench: passed over 1 unsupported file in {folder}, as b.bmp\n"
    assert capsys.readouterr().err == told
    (folder / "gone.png").symlink_to(folder / "nowhere")
    with pytest.raises(BenchError, match=r"gone\.png"):
        [loaded(file) for file in listed([folder])]


def test_a_hidden_file_that_is_named_is_taken(folder: Path) -> None:
    """Who names it wants it."""
    hide(folder, ".a.png")
    assert listed([folder / ".a.png"]) == (folder / ".a.png",)


def test_an_empty_file_is_named(folder: Path) -> None:
    """As empty, not as one that has another format."""
    (folder / "b.png").write_bytes(b"")
    with pytest.raises(BenchError, match=r"b.png: an empty file; expected a JPEG or PNG"):
        loaded(folder / "b.png")


@pytest.mark.parametrize("name", ["holiday", f"{NAMES[0]}/more", "."])
def test_one_unknown_folder_among_classes_is_an_error(folder: Path, name: str) -> None:
    """It names the folder, what was expected and the option that passes it over."""
    hide(folder, f"{name}/b.png")
    told = rf"^{folder / name}: .* class.*such as '{NAMES[0]}', or a WordNet id; --skip-unknown-f"
    with pytest.raises(BenchError, match=told):
        examples(folder, NAMES)


def test_unknown_folders_are_passed_over_when_asked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are counted and named; where nothing is left, that is an error."""
    hide(folder, "holiday/b.png")
    found = examples(folder, NAMES, skip_unknown=True)
    assert found.labels is not None
    assert sorted(found.labels) == [0, 1, 2]
    said = f"passed over 1 picture whose folder is no class: {folder / 'holiday'}"
    assert said in capsys.readouterr().err
    with pytest.raises(BenchError, match=r"--skip-unknown-folders: no folder of .*holiday is a cl"):
        examples(folder / "holiday", NAMES, skip_unknown=True)


def test_folders_that_mean_nothing_leave_pictures_without_labels(folder: Path) -> None:
    """A plain folder is one, so is any folder for a model without labels; both say why."""
    for number, file in enumerate(sorted(folder.rglob("*.png"))):
        file.rename(folder / f"{number}.png")
    assert examples(folder, NAMES).unlabelled == (
        "no folder is a label of the model or a WordNet id of its classes"
    )
    assert examples(folder, ()).unlabelled == "the model has no labels"


def test_labels_that_differ_in_capitals_alone_name_neither(folder: Path) -> None:
    """A folder of either name may be meant."""
    names = ("Crane", "crane", *NAMES)
    hide(folder, "crane/b.png")
    with pytest.raises(BenchError, match=r"crane: the label of several classes, 0, 1; rename one"):
        examples(folder, names)


def test_a_data_set_is_not_its_hidden_copy(folder: Path) -> None:
    """A Mac's ._boxes.json is no second data set."""
    (folder / "boxes.json").write_text("{}")
    (folder / "._boxes.json").write_bytes(b"\0\x05\x16\x07")
    assert coco._json(folder) == folder / "boxes.json"


# --- Labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_a_label_is_a_line_without_its_end(text: bytes, tmp_path: Path) -> None:
    """Whatever editor wrote the file, the labels are the same."""
    (tmp_path / "labels.txt").write_bytes(text)
    assert labels.read(tmp_path / "labels.txt") == ("red", "green", "blue")


@pytest.mark.parametrize("mark", INSIDE, ids=map(repr, INSIDE))
def test_only_a_line_feed_ends_a_line(mark: str, tmp_path: Path) -> None:
    """A label may hold what Unicode knows as ends of lines: those after it do not shift."""
    (tmp_path / "labels.txt").write_bytes(f"red\nsea{mark}green\nblue\n".encode())
    assert labels.read(tmp_path / "labels.txt") == ("red", f"sea{mark}green", "blue")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"background\na\nb\nc\n", "4 labels, but the model has 3 classes; its first line, 'backg"),
        (b"a\nb\n", "2 labels, but the model has 3 classes$"),
        (b"", "0 labels, but the model has 3 classes$"),
        ("a\nb\nc\n".encode("utf-16"), "not UTF-8 text: it looks like UTF-16"),
        ("a\nb\n\u00fc\n".encode("latin-1"), "not UTF-8 text: line 3 holds the byte 0xfc"),
    ],
)
def test_another_number_of_labels_is_refused(
    colours: Path, text: bytes, told: str, tmp_path: Path
) -> None:
    """Top-1 would be that of other classes; the error names the file and both numbers."""
    shutil.copytree(colours, tmp_path / "models")
    file = tmp_path / "models" / "colours" / "labels.txt"
    file.write_bytes(text)
    with pytest.raises(BenchError, match=f"{file}: {told}"):
        read_model(tmp_path / "models", "colours")
    file.unlink()
    assert read_labels(tmp_path / "models", "colours") == ()
    assert read_model(tmp_path / "models", "colours").classes == 3


# --- What is no number -----------------------------------------------------------------------


def test_an_answer_that_is_no_number_is_an_error(colours: Path) -> None:
    """It would agree with nothing and differ from nothing; the target and the picture are named."""
    task = Task("onnxruntime", read_model(colours, "colours"), None)  # type: ignore[arg-type]
    child: Any = type("Child", (), {"task": task})
    right, files = np.full((2, 3), 0.5, np.float32), [Path("a.png"), Path("b.png")]
    assert len(compared([child], [right], files)) == 1
    for bad in (np.nan, np.inf):
        wrong = right.copy()
        wrong[1, 2] = bad
        with pytest.raises(BenchError, match=r"colours on ONNX Runtime: no number for b.png"):
            compared([child, child], [right, wrong], files)


def test_accuracy_of_a_model_that_gives_no_numbers_is_none(
    colours: Path, folder: Path, tmp_path: Path
) -> None:
    """The whole run fails: NaN is no answer that agrees with itself."""
    shutil.copytree(colours, tmp_path / "models")
    file = tmp_path / "models" / "colours" / "1" / "model.onnx"
    model = onnx.load(file)
    nan = onnx.numpy_helper.from_array(np.array(np.nan, np.float32), "white")
    model.graph.initializer[0].CopyFrom(nan)
    onnx.save(model, file)
    asked = Asked(tmp_path / "models", "colours", ("onnxruntime",))
    with pytest.raises(BenchError, match=r"colours on ONNX Runtime: no number for .*\.png"):
        measure(AccuracyPlan(asked, str(folder), None), "cmd")
