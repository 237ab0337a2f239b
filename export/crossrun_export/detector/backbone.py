"""Weights to start a detector's MobileNet from."""

from importlib import resources
from pathlib import Path

from crossrun_export import sources, train
from crossrun_export.backend import keras
from crossrun_export.detector import network
from crossrun_export.errors import ExportError

NONE = "random"


def load_backbone(detector: keras.Model, weights: str, alpha: float) -> None:
    """Give the layers that a detector shares with MobileNet their weights.

    Args:
        detector: of `network.build`.
        weights: "imagenet"; "bundled", the bundled classifier's; "random"; or the path of a
            MobileNet's weights file, with or without its classifier.
        alpha: width multiplier of both.

    Raises:
        ExportError: the weights cannot be had or do not fit.
    """
    if weights == NONE:
        return
    base = _published(detector, alpha) if weights == "imagenet" else _from_file(weights, alpha)
    for layer in base.layers:
        if layer.weights:
            detector.get_layer(layer.name).set_weights(layer.get_weights())


def _published(detector: keras.Model, alpha: float) -> keras.Model:
    """Keras's own, of the same size where there are such: layers of convolution fit every size."""
    size = detector.input_shape[1]
    size = size if size in sources.IMAGENET_SIZES else max(sources.IMAGENET_SIZES)
    classifier = sources.mobilenet(alpha, size, "imagenet", None).model
    last = list(network.LEVELS.values())[-1]
    return keras.Model(classifier.input, classifier.get_layer(last).output)


def _from_file(weights: str, alpha: float) -> keras.Model:
    base = network.backbone(alpha, train.SIZE)
    if weights == "bundled":
        if alpha != train.ALPHA:
            raise ExportError(f"the bundled weights are of alpha {train.ALPHA}, not {alpha}")
        inside = resources.files("crossrun_export") / "bundled" / f"{train.NAME}.weights.h5"
        with resources.as_file(inside) as file:
            base.load_weights(file)
        return base
    if not Path(weights).is_file():
        raise ExportError(
            f"--backbone-weights is imagenet, bundled, random or a file; {weights} is none"
        )
    try:
        base.load_weights(weights)
    except Exception as error:  # keras and h5py raise what they meet in the file
        raise ExportError(f"{weights} does not fit a MobileNet of alpha {alpha}") from error
    return base
