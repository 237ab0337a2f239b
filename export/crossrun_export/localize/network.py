"""The parts of a Keras classifier that say where: its feature maps and its last layer's weights.

Knows Keras; knows nothing of ONNX, of regions and of boxes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.localize.dilate import dilated
from crossrun_export.options import Localize
from crossrun_export.sources import Source

Floats = NDArray[np.float32]

ZOOM = 2  # how much larger the second look at a picture is

_layers = keras.layers
SHAPING = (_layers.Dropout, _layers.Flatten, _layers.Reshape)


@dataclass(frozen=True)
class Look:
    """One look at a picture, as it is or enlarged."""

    network: keras.Model  # to features [batch, h, w, channels]
    rows: Floats  # [h]: the middles of the cells, 0 to 1 over the picture's height
    columns: Floats  # [w]: likewise over its width


@dataclass(frozen=True)
class Localizer:
    """A classifier taken apart."""

    plain: Look
    rate: int  # each so manieth cell of the plain look is the classifier's own
    zoomed: Look | None  # its network takes pictures ZOOM times as large
    classify: keras.Model  # the classifier's own features to its scores
    weights: Floats  # [classes, channels], less what all classes share
    asked: Localize

    @property
    def looks(self) -> list[Look]:
        """All looks, whose maps are added."""
        return [self.plain, self.zoomed] if self.zoomed else [self.plain]


def localizer(source: Source, asked: Localize) -> Localizer:
    """Take a classifier apart.

    The mean over the classes is taken off the last layer's weights: scores do not change when all
    logits rise alike, so what all classes share says nothing of one.

    Raises:
        ExportError: it does not end in global average pooling and one dense layer or 1x1
            convolution, has fewer classes than are asked for, or cannot be enlarged.
    """
    pooling, last = _ending(source)
    if asked.top_k > source.classes:
        raise ExportError(f"--top-k {asked.top_k} of a model of {source.classes} classes")
    features = keras.Model(source.model.input, pooling.input)
    finer, rate = dilated(features)
    kernel = np.asarray(last.kernel).reshape(-1, source.classes).T
    return Localizer(
        _look(finer, rate),
        rate,
        _look(_enlarged(features, source), 1) if asked.zoom else None,
        keras.Model(pooling.input, source.model.output),
        kernel - kernel.mean(axis=0),
        asked,
    )


def _ending(source: Source) -> tuple[Any, Any]:
    """The pooling and the last layer with weights."""
    layers = source.model.layers
    places = [at for at, one in enumerate(layers) if _is_pooling(one)]
    if places:
        pooling, after = layers[places[-1]], layers[places[-1] + 1 :]
        shaped = [layer for layer in after if not isinstance(layer, SHAPING)]
        if shaped and _is_linear(shaped[0]) and not any(layer.weights for layer in shaped[1:]):
            return pooling, shaped[0]
    raise ExportError(
        f"{source.model.name} cannot say where: expected an end of global average pooling and "
        "one dense layer or 1x1 convolution"
    )


def _is_pooling(layer: Any) -> bool:
    return isinstance(layer, _layers.GlobalAveragePooling2D)


def _is_linear(layer: Any) -> bool:
    return isinstance(layer, _layers.Dense) or (
        isinstance(layer, _layers.Conv2D) and set(layer.kernel_size) == {1}
    )


def _look(network: keras.Model, rate: int) -> Look:
    """Each cell lies in the middle of its tile of the picture, the dilated ones in between.

    Padding at the far ends only, as in MobileNet, moves receptive fields by up to half a tile from
    there; the measured maps do not follow (see docs/detectors.md).
    """
    _, height, width, _ = network.output_shape
    return Look(network, _middles(height, rate), _middles(width, rate))


def _middles(cells: int, rate: int) -> Floats:
    return ((np.arange(cells, dtype=np.float32) / rate + 0.5) * rate / cells).astype(np.float32)


def _enlarged(features: keras.Model, source: Source) -> keras.Model:
    """The same network for pictures ZOOM times as large."""
    height, width = source.size
    image = keras.Input((ZOOM * height, ZOOM * width, 3))
    try:
        clone = keras.models.clone_model(features, input_tensors=image)
        clone.set_weights(features.get_weights())
    except Exception as error:  # a layer that is made for one size raises what it likes
        raise ExportError(
            f"{source.model.name} cannot take pictures {ZOOM} times as large, use --no-zoom"
        ) from error
    return clone
