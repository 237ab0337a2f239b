"""Keras models to export: where their weights come from and how they take pixels.

Knows Keras; knows nothing of what becomes of the model.
"""

import hashlib
import os
import socket
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from crossrun_export import convert, dtypes, label_file, loading, train
from crossrun_export.backend import keras, tensorflow, tf2onnx
from crossrun_export.errors import ExportError
from crossrun_export.options import Computes, InputDtype, Loading
from crossrun_export.preprocessing import assume
from crossrun_export.provenance import Provenance
from crossrun_export.runtime import BATCH, Scores
from crossrun_export.scaling import CHOICES, Preprocessing, Scaling
from crossrun_export.scenes import CLASSES

KERAS = "model.keras"  # beside an exported model
# The weights that Keras publishes: https://keras.io/api/applications/mobilenet/
IMAGENET_ALPHAS = {0.25: "2_5", 0.5: "5_0", 0.75: "7_5", 1.0: "1_0"}
IMAGENET_SIZES = (128, 160, 192, 224)
IMAGENET_CLASSES = 1000
NETWORK_TIMEOUT = 30.0  # seconds; Keras would wait for an answer for ever

# What MobileNet is trained on.
MOBILENETS = Preprocessing(CHOICES["-1..1"], "MobileNet's own")

AS_IT_IS = Loading()  # as a model is loaded if nothing is asked for


@dataclass(frozen=True)
class Source:
    """A Keras image classifier and what has to be known to serve it."""

    model: keras.Model
    labels: tuple[str, ...]  # empty where none are known
    weights: str  # where they come from
    sha256: str
    preprocessing: Preprocessing
    wordnet_ids: tuple[str, ...] = ()  # of ImageNet's classes
    loss: str = ""  # on logits, which it was trained with; empty where that is not known
    runtime = "Keras"

    @property
    def name(self) -> str:
        """Keras's of the model."""
        return str(self.model.name)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input, pixels."""
        _, height, width, _ = self.model.input_shape
        return height, width

    @property
    def classes(self) -> int:
        """How many scores the model has."""
        return int(self.model.output_shape[-1])

    @property
    def computes(self) -> Computes:
        """The coarsest that its layers compute in."""
        return dtypes.of(self.model)

    @property
    def answers_in(self) -> Computes:
        """The coarsest that its answers' precision comes from."""
        return dtypes.coarsest(self.model)

    def answer(self, pixels: NDArray[np.uint8], scaling: Scaling) -> Scores:
        """Ask Keras about pixels [count, height, width, 3]; returns [count, classes]."""
        inputs = scaling.apply(pixels)
        batches = (inputs[start : start + BATCH] for start in range(0, len(inputs), BATCH))
        # `predict` makes a pipeline of tf.data each time, which takes longer than most answers.
        return np.concatenate([self.model.predict_on_batch(batch) for batch in batches])

    def to_onnx(self, input_dtype: InputDtype) -> onnx.ModelProto:
        """Convert it, as `convert.to_onnx` does."""
        return convert.to_onnx(self, input_dtype)

    def made_from(self) -> Provenance:
        """What is kept of it."""
        packages = {"keras": keras, "tensorflow": tensorflow, "tf2onnx": tf2onnx}
        return Provenance(
            preprocessing=self.preprocessing,
            labels=self.labels,
            source={"model": self.name, "weights": self.weights, "sha256": self.sha256},
            versions={name: package.__version__ for name, package in packages.items()},
            save=lambda folder: self.model.save(folder / KERAS),
        )


def mobilenet(
    alpha: float | None,
    size: int | None,
    weights: str,
    labels: Path | None,
    pixels: str | None = None,
) -> Source:
    """Build a Keras MobileNet.

    Args:
        alpha: width multiplier; None is 1.0, or the bundled model's own.
        size: height and width of the input, pixels; None is 224, or the bundled model's own.
        weights: "imagenet", "bundled", "random", or the path of a weights file.
        labels: a file with one label a line; None takes those that belong to the weights.
        pixels: what the weights were trained on, as --pixels says it; None is -1..1.

    Raises:
        ExportError: the weights cannot be had, or do not fit alpha, size or labels.
    """
    source = _mobilenet(alpha, size, weights, labels)
    if pixels is None:
        return source
    return replace(source, preprocessing=assume(source.model, pixels))


def _mobilenet(alpha: float | None, size: int | None, weights: str, labels: Path | None) -> Source:
    if weights == "bundled":
        return _bundled(alpha, size, labels)
    alpha, size = alpha or 1.0, size or 224
    if weights == "imagenet":
        return _imagenet(alpha, size, labels)
    return _own(alpha, size, weights, labels)


def keras_file(
    path: Path, pixels: str | None, labels: Path | None, how: Loading = AS_IT_IS
) -> Source:
    """Load an image classifier that was saved with `model.save("FILE.keras")`.

    Args:
        path: the file.
        pixels: what the model takes, as --pixels says it; None finds it out.
        labels: a file with one label a line, or None.
        how: what is asked for besides.

    Raises:
        ExportError: the file is no such model, needs layers of its own, does not fit labels, or
            nothing tells which pixels it takes.
    """
    model = loading.load(path, how)
    _check_classifier(model, path)
    names = read_labels(labels) if labels else ()
    loss = loading.loss_of_logits(path)
    taken = assume(model, pixels)
    source = Source(model, names, str(path.name), sha256(path), taken, loss=loss)
    return _checked(source)


def sha256(path: Path) -> str:
    """Hash a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _imagenet(alpha: float, size: int, labels: Path | None) -> Source:
    if alpha not in IMAGENET_ALPHAS or size not in IMAGENET_SIZES:
        raise ExportError(
            f"there are no ImageNet weights for alpha {alpha} and size {size}: alpha is one of "
            f"{', '.join(map(str, IMAGENET_ALPHAS))}, size one of "
            f"{', '.join(map(str, IMAGENET_SIZES))}"
        )
    file = _cache() / f"mobilenet_{IMAGENET_ALPHAS[alpha]}_{size}_tf.h5"
    socket.setdefaulttimeout(NETWORK_TIMEOUT)
    try:
        model = keras.applications.MobileNet(
            input_shape=(size, size, 3), alpha=alpha, weights="imagenet"
        )
    except Exception as error:  # keras wraps every failed download in a bare Exception
        raise ExportError(
            f"no ImageNet weights: {file} cannot be read or downloaded ({_reason(error)}); "
            "put the file there, or use --weights bundled"
        ) from error
    ids, names = _imagenet_classes()
    names = read_labels(labels) if labels else names
    return _checked(Source(model, names, "imagenet", sha256(file), MOBILENETS, ids))


def _bundled(alpha: float | None, size: int | None, labels: Path | None) -> Source:
    if (alpha or train.ALPHA, size or train.SIZE) != (train.ALPHA, train.SIZE):
        raise ExportError(
            f"the bundled model has alpha {train.ALPHA} and size {train.SIZE}, "
            "leave --alpha and --size out"
        )
    model = train.build()
    weights = resources.files("crossrun_export") / "bundled" / f"{train.NAME}.weights.h5"
    with resources.as_file(weights) as file:
        model.load_weights(file)
        names = read_labels(labels) if labels else CLASSES
        return _checked(Source(model, names, "bundled", sha256(file), MOBILENETS))


def _own(alpha: float, size: int, weights: str, labels: Path | None) -> Source:
    names = read_labels(labels) if labels else ()
    model = _build(alpha, size, len(names) or IMAGENET_CLASSES)
    if weights == "random":
        return Source(model, names, "random", hash_weights(model), MOBILENETS)
    file = Path(weights)
    if not file.is_file():
        raise ExportError(f"--weights is imagenet, bundled, random or a file; {file} is none")
    try:
        model.load_weights(file)
    except Exception as error:  # keras and h5py raise what they meet in the file
        raise ExportError(
            f"{file} does not fit a MobileNet of alpha {alpha}, size {size} "
            f"and {model.output_shape[-1]} classes: {_reason(error)}"
        ) from error
    return Source(model, names, file.name, sha256(file), MOBILENETS)


def _build(alpha: float, size: int, classes: int) -> keras.Model:
    try:
        return keras.applications.MobileNet(
            input_shape=(size, size, 3), alpha=alpha, weights=None, classes=classes
        )
    except ValueError as error:
        raise ExportError(
            f"no MobileNet of alpha {alpha}, size {size}: {_reason(error)}"
        ) from error


def _cache() -> Path:
    """Where Keras keeps downloaded weights."""
    return Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser() / "models"


def _imagenet_classes() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ask Keras for WordNet ids and labels: scores in falling order decode to every class in turn.

    Raises:
        ExportError: Keras has no class index and cannot get it.
    """
    falling = np.arange(IMAGENET_CLASSES, 0, -1, dtype=np.float32)[np.newaxis]
    try:
        decoded = keras.applications.mobilenet.decode_predictions(falling, top=IMAGENET_CLASSES)
    except Exception as error:  # as in _imagenet
        raise ExportError(
            f"no ImageNet labels: {_cache() / 'imagenet_class_index.json'} cannot be read or "
            f"downloaded ({_reason(error)}); put the file there, or give --labels FILE"
        ) from error
    ids, labels, _ = zip(*decoded[0], strict=True)
    return ids, labels


def read_labels(path: Path) -> tuple[str, ...]:
    """Read one label a line; raises ExportError where there is no such text."""
    try:
        return label_file.read(path)
    except ExportError as error:
        raise ExportError(f"--labels {error}") from error


def _checked(source: Source) -> Source:
    if source.labels:
        # One score is that of the second of two classes.
        label_file.check(source.labels, max(source.classes, 2))
    return source


def _check_classifier(model: keras.Model, path: Path) -> None:
    shapes = (model.input_shape, model.output_shape)
    if not (len(shapes[0]) == 4 and shapes[0][3] == 3 and len(shapes[1]) == 2):
        raise ExportError(
            f"{path} maps {shapes[0]} to {shapes[1]}; expected an image classifier, "
            "(None, height, width, 3) to (None, classes)"
        )
    if None in (*shapes[0][1:], shapes[1][1]):
        raise ExportError(f"{path} has an input of any size {shapes[0]}; expected a fixed one")


def hash_weights(model: keras.Model) -> str:
    """Hash what no file holds."""
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(array.tobytes())
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    """The last sentence-like line of an error: keras puts the cause at the end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
