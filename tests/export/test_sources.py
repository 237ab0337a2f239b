"""Where models to export come from: every file, name and network that can be wrong."""

from pathlib import Path
from typing import Any

import pytest

from crossrun_export import sources
from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from tests.support.running import Command


@pytest.fixture(scope="module")
def four() -> Any:
    """A MobileNet of four classes with random weights."""
    return keras.applications.MobileNet((64, 64, 3), 0.25, weights=None, classes=4)


@keras.saving.register_keras_serializable("test")
class Doubling(keras.layers.Layer):  # type: ignore[misc]
    """A layer that only this test knows."""

    def call(self, inputs: Any) -> Any:
        return inputs * 2


def _save(path: Path, *layers: Any, shape: tuple[int | None, ...] = (8, 8, 3)) -> Path:
    keras.Sequential([keras.Input(shape), *layers]).save(path)
    return path


def test_a_keras_file_that_cannot_be_served_says_why(tmp_path: Path, run: Command) -> None:
    """No file, no Keras file, no classifier, an input of any size: each has its own line."""
    (tmp_path / "text.keras").write_text("not a model")
    pooled = keras.layers.GlobalAveragePooling2D()
    for path, expected in (
        (tmp_path / "none.keras", "is not a file; expected a model saved as .keras"),
        (tmp_path / "text.keras", "cannot be loaded: "),
        (_save(tmp_path / "c.keras", keras.layers.Conv2D(3, 3)), "expected an image classifier"),
        (_save(tmp_path / "a.keras", pooled, shape=(None, None, 3)), "expected a fixed one"),
    ):
        with pytest.raises(ExportError, match=expected):
            sources.keras_file(path, None, None)
    custom = _save(tmp_path / "custom.keras", Doubling(), pooled)
    ended = run("crossrun-export", "keras", custom, "--output", tmp_path / "models")
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"crossrun-export: {custom} needs layers of its own: ")
    assert "Doubling" in line
    assert not (tmp_path / "models").exists()


def test_weights_that_do_not_fit_are_refused(tmp_path: Path, four: Any) -> None:
    """Other alpha, a file that is no weights, no file, alpha without ImageNet weights."""
    four.save_weights(tmp_path / "four.weights.h5")
    (tmp_path / "text.weights.h5").write_text("not weights")
    (tmp_path / "two.txt").write_text("a\nb\n")
    four = str(tmp_path / "four.weights.h5")
    for arguments, expected in (
        ((0.5, 64, four, None), "does not fit a MobileNet of alpha 0.5, size 64"),
        ((0.25, 64, four, tmp_path / "two.txt"), "and 2 classes"),
        ((0.25, 64, str(tmp_path / "text.weights.h5"), None), "does not fit"),
        ((0.25, 64, "imagenot", None), "imagenet, bundled, random or a file; imagenot is none"),
        ((0.3, 224, "imagenet", None), "no ImageNet weights for alpha 0.3 and size 224"),
        ((1.0, 224, "bundled", None), "the bundled model has alpha 0.25 and size 96"),
        ((0.25, 8, "random", None), "no MobileNet of alpha 0.25, size 8"),
        ((0.25, 64, "random", tmp_path / "no.txt"), "no.txt cannot be read"),
    ):
        with pytest.raises(ExportError, match=expected):
            sources.mobilenet(*arguments)


def test_labels_have_to_be_as_many_as_classes(tmp_path: Path, four: Any) -> None:
    """Two labels for four classes are an error, not two named classes."""
    four.save(tmp_path / "four.keras")
    (tmp_path / "two.txt").write_text("a\nb\n")
    with pytest.raises(ExportError, match="2 labels for a model of 4 classes"):
        sources.keras_file(tmp_path / "four.keras", None, tmp_path / "two.txt")


def test_without_a_network_the_place_for_the_weights_is_told(tmp_path: Path, run: Command) -> None:
    """ImageNet weights that cannot be downloaded: one line with the path and the other road."""
    nowhere = {"KERAS_HOME": str(tmp_path), "https_proxy": "http://127.0.0.1:1"}
    arguments = ("mobilenet", "--weights", "imagenet", "--output", tmp_path / "models")
    ended = run("crossrun-export", *arguments, env=nowhere)
    assert ended.returncode == 1
    line = ended.stderr.splitlines()[-1]
    assert line.startswith(f"crossrun-export: no ImageNet weights: {tmp_path}/models/mobilenet_1_0")
    assert line.endswith("put the file there, or use --weights bundled")
    assert list(tmp_path.rglob("model.onnx")) == []


def test_a_missing_package_is_named_with_what_brings_it(tmp_path: Path, run: Command) -> None:
    """Without a build of onnxruntime the export says what to install."""
    (tmp_path / "onnxruntime.py").write_text(
        "raise ModuleNotFoundError('No module named onnxruntime', name='onnxruntime')\n"
    )
    arguments = ("mobilenet", "--weights", "bundled", "--output", tmp_path / "models")
    ended = run("crossrun-export", *arguments, env={"PYTHONPATH": str(tmp_path)})
    assert ended.returncode == 1
    expected = "needs onnxruntime, which is not installed: install the extra [cpu,export]"
    assert ended.stderr == f"crossrun-export: {expected} of crossrun-inference\n"
