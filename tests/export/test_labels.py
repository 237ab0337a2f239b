"""Labels of an export: how a file of them is read, and that their number has to fit."""

from pathlib import Path

import pytest

from crossrun_export import label_file, scenes, sources
from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.pipeline import export
from crossrun_export.publish import Draft
from tests.support.keras_models import options, strongest
from tests.support.label_files import INSIDE, WRITTEN

TEN = "".join(f"{name}\n" for name in scenes.CLASSES)
WRONG = {
    "one too many": (f"{TEN}more\n".encode(), "^11 labels for a model of 10 classes$"),
    "another list": (f"background\n{TEN}".encode(), "^11 labels .* 10 classes; the first, 'backg"),
    "an empty line more": (f"{TEN}\n".encode(), "^11 labels .* 10 classes; the last line is empty"),
    "one too few": ("\n".join(scenes.CLASSES[1:]).encode(), "^9 labels for a model of 10 classes$"),
    "empty": (b"", "^--labels {file} holds no label; expected one a line$"),
    "UTF-16": (TEN.encode("utf-16"), "^--labels {file} is no UTF-8 text: it looks like UTF-16"),
    "Latin 1": ("tench\ngr\u00fcn".encode("latin-1"), "^--labels {file} is no .* line 2 .* 0xfc$"),
}


@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_a_label_is_a_line_without_its_end(text: bytes, tmp_path: Path) -> None:
    """Whatever editor wrote the file, the labels are the same."""
    (tmp_path / "labels.txt").write_bytes(text)
    assert label_file.read(tmp_path / "labels.txt") == ("red", "green", "blue")


@pytest.mark.parametrize("mark", INSIDE, ids=map(repr, INSIDE))
def test_only_a_line_feed_ends_a_line(mark: str) -> None:
    """A label may hold what Unicode knows as ends of lines, and is written as it was read."""
    labels = ("red", f"sea{mark}green", "blue")
    assert label_file.split(label_file.joined(labels)) == labels


@pytest.mark.parametrize("label", ["two\nlines", "end\r", "\ufeffmark"], ids=repr)
def test_a_label_that_is_no_line_is_not_written(label: str, tmp_path: Path) -> None:
    """A category of a data set may hold anything; read again, it would shift those after it."""
    with pytest.raises(ExportError, match="is no line of text"):
        _ = Draft("model", tmp_path, "", (label, "other")).labels_text


@pytest.mark.parametrize(("text", "told"), WRONG.values(), ids=WRONG)
def test_the_bundled_model_takes_labels_of_its_own_number(
    text: bytes, told: str, tmp_path: Path
) -> None:
    """They are never passed over: those of another number, or of no number, are refused."""
    file = tmp_path / "labels.txt"
    file.write_bytes(text)
    with pytest.raises(ExportError, match=told.format(file=file)):
        sources.mobilenet(None, None, "bundled", file)


def test_the_bundled_model_can_be_given_other_names(tmp_path: Path) -> None:
    """Its classes in another language, in their order."""
    names = tuple(f"name {i}" for i in range(10))
    (tmp_path / "labels.txt").write_text("\n".join(names))
    assert sources.mobilenet(None, None, "bundled", tmp_path / "labels.txt").labels == names


def test_imagenet_weights_take_a_thousand_labels(keras_home: str, tmp_path: Path) -> None:
    """TensorFlow's list, with 'background' first, would shift all of them."""
    names = "".join(f"{i}\n" for i in range(1000))
    (tmp_path / "labels.txt").write_text(f"background\n{names}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_cache", lambda: Path(keras_home) / "models")
        patch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: keras_home)
        with pytest.raises(ExportError, match=r"1001 labels for a model of 1000 .* remove it"):
            sources.mobilenet(0.25, 128, "imagenet", tmp_path / "labels.txt")


def test_one_score_has_two_labels(tmp_path: Path) -> None:
    """Of a sigmoid's two classes both have a name; three do not fit."""
    layers = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1, "sigmoid")]
    keras.Sequential([keras.Input((8, 8, 3)), *layers]).save(tmp_path / "binary.keras")
    (tmp_path / "labels.txt").write_text("cat\ndog\n")
    read = sources.keras_file(tmp_path / "binary.keras", "0..1", tmp_path / "labels.txt")
    assert read.labels == ("cat", "dog")
    (tmp_path / "labels.txt").write_text("cat\ndog\ncow\n")
    with pytest.raises(ExportError, match="3 labels for a model of 2 classes"):
        sources.keras_file(tmp_path / "binary.keras", "0..1", tmp_path / "labels.txt")


def test_the_next_version_has_the_same_labels_however_they_are_written(tmp_path: Path) -> None:
    """A label file that an editor has changed to Windows' ways names the same classes."""
    strongest().save(tmp_path / "strongest.keras")
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    source = sources.keras_file(tmp_path / "strongest.keras", "0..1", tmp_path / "labels.txt")
    export(source, options(tmp_path / "models"))
    file = tmp_path / "models" / "mobilenet" / "labels.txt"
    file.write_bytes(WRITTEN["both"])
    (second,) = export(source, options(tmp_path / "models"))
    assert second.version.name == "2"
    file.write_bytes("red\ngreen\nblue\n".encode("utf-16"))
    with pytest.raises(ExportError, match=f"{file} is no UTF-8 text"):
        export(source, options(tmp_path / "models"))
