"""Keras classifiers of random weights, and what the export is told of them."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from crossrun_export import scenes, sources
from crossrun_export.backend import keras, tensorflow
from crossrun_export.options import Options, Tolerance
from crossrun_export.scaling import CHOICES, Preprocessing


def small() -> sources.Source:
    """A MobileNet of four classes."""
    keras.utils.set_random_seed(4)
    return with_labels(sources.mobilenet(0.25, 64, "random", None), 4)


def headed(head: Callable[[Any], Any], *, sure: float = 3.0) -> Any:
    """A small network on 16 x 16 pictures, 0 to 1, whose answers differ, with any head on it."""
    keras.utils.set_random_seed(11)
    image = keras.Input((16, 16, 3))
    spread = keras.initializers.RandomNormal(stddev=sure)
    features = keras.layers.Conv2D(12, 3, 2, activation="relu", kernel_initializer=spread)(image)
    return keras.Model(image, head(keras.layers.GlobalAveragePooling2D()(features)))


def pixels(name: str) -> Preprocessing:
    """What a test says that its model takes."""
    return Preprocessing(CHOICES[name], "a test says so")


def strongest() -> Any:
    """Names the strongest of three channels of 8 x 8 pictures: never in doubt, nothing to train."""
    means = keras.layers.GlobalAveragePooling2D()
    return keras.Sequential([keras.Input((8, 8, 3)), means, keras.layers.Softmax()])


def draw(source: sources.Source, folder: Path) -> Path:
    """Write pictures into a folder of each label, 34 each."""
    pixels, _ = scenes.batch(77, 0, 34 * source.classes, max(source.size))
    for place, drawing in enumerate(pixels):
        file = folder / source.labels[place % source.classes] / f"{place:03}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(drawing).save(file)
    return folder


@contextmanager
def eagerly() -> Iterator[None]:
    """Let TensorFlow make no graphs: to trace one takes longer than to train on a few pictures."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Even though the", UserWarning)  # not for tf.data
        tensorflow.config.run_functions_eagerly(True)
        try:
            yield
        finally:
            tensorflow.config.run_functions_eagerly(False)


def with_labels(source: sources.Source, classes: int) -> sources.Source:
    model = keras.applications.MobileNet(
        input_shape=(*source.size, 3), alpha=0.25, weights=None, classes=classes
    )
    tell_apart(model)
    labels = tuple(f"label {i}" for i in range(classes))
    return sources.Source(model, labels, "random", "0" * 64, source.preprocessing)


def tell_apart(model: Any) -> None:
    """Let a model of random weights give other scores to other pictures.

    As it comes, its batch norm has the statistics of nothing, and all scores are the same.
    """
    pixels, _ = scenes.batch(9, 0, 32, model.input_shape[1])
    rescales = any(isinstance(layer, keras.layers.Rescaling) for layer in model.layers)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(pixels.astype(np.float32) if rescales else pixels / np.float32(127.5) - 1, training=True)


def options(output: Path, **changes: Any) -> Options:
    defaults: dict[str, Any] = {
        "output": output,
        "name": "mobilenet",
        "input_dtype": "uint8",
        "resize": "stretch",
        "images": None,
        "tolerance": Tolerance(),
    }
    return Options(**(defaults | changes))
