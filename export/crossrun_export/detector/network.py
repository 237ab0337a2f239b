"""The detector's network: MobileNet, a small feature pyramid, and a head for each of its levels.

Anchor-free, as in FCOS (Tian et al. 2019): each cell of a level says how far the box's four sides
are from its middle, and how sure it is of each class, where sureness counts how well the box fits
(Li et al. 2020, "Generalized Focal Loss"), so that no third output for that is needed.
The whole is made of Keras's own layers and operations: a saved model loads without this package.
It knows nothing of training, nor of non-maximum suppression.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from crossrun_export.backend import keras

# Pixels between two cells of a level, and the layer of MobileNet that has them.
LEVELS = {8: "conv_pw_5_relu", 16: "conv_pw_11_relu", 32: "conv_pw_13_relu"}
CHANNELS = 64
DEPTH = 2  # separable convolutions of a head, before its last layer
# Keras's 0.99 lags behind weights that start anew: after 300 steps it cost 8 points of mAP.
MOMENTUM = 0.9
# Where no box is, classes start as rare as this; see Lin et al. 2017, section 4.1.
RARE = 0.01
CORNERS, BOXES, SCORES = "corners", "boxes", "scores"


def build(alpha: float, size: int, classes: int) -> keras.Model:
    """A detector without trained weights.

    Args:
        alpha: width multiplier of MobileNet.
        size: height and width of the input, pixels; a multiple of 32.
        classes: how many.

    Returns:
        A model from RGB pixels in -1 … 1, float32 [N, size, size, 3], to two outputs: `boxes`,
        float32 [N, cells, 4], ymin xmin ymax xmax, 0 … 1; `scores`, float32 [N, cells, classes].

    Raises:
        ValueError: the size is no multiple of 32, or alpha is nothing Keras knows.
    """
    if size < 32 or size % 32:
        raise ValueError(f"size {size} is no multiple of 32")
    base = backbone(alpha, size)
    pyramid = _pyramid([base.get_layer(name).output for name in LEVELS.values()])
    sides, scores = [], []
    for stride, level in zip(LEVELS, pyramid, strict=True):
        sides.append(_output(_head(level, f"box_{stride}"), 4, 0.0, f"sides_{stride}"))
        rare = math.log(RARE / (1 - RARE))
        scores.append(_output(_head(level, f"class_{stride}"), classes, rare, f"logits_{stride}"))
    corners = _corners(keras.layers.Concatenate(axis=1)(sides), size)
    boxes = keras.layers.Activation("linear", name=BOXES)(keras.ops.clip(corners, 0.0, 1.0))
    logits = keras.layers.Concatenate(axis=1)(scores)
    sure = keras.layers.Activation("sigmoid", name=SCORES)(logits)
    return keras.Model(base.input, [boxes, sure], name=f"detector_{alpha:.2f}_{size}")


def backbone(alpha: float, size: int) -> keras.Model:
    """MobileNet without its classifier, untrained."""
    return keras.applications.MobileNet(
        alpha=alpha, input_shape=(size, size, 3), include_top=False, weights=None
    )


def cells(size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """All cells, level by level, row by row: their middles (y, x) [cells, 2] and strides [cells].

    Both in pixels of the input.
    """
    middles, strides = [], []
    for stride in LEVELS:
        along = (np.arange(size // stride, dtype=np.float32) + np.float32(0.5)) * stride
        middles.append(np.stack(np.meshgrid(along, along, indexing="ij"), -1).reshape(-1, 2))
        strides.append(np.full(len(middles[-1]), stride, np.float32))
    return np.concatenate(middles), np.concatenate(strides)


def _pyramid(features: Sequence[keras.KerasTensor]) -> list[keras.KerasTensor]:
    """Each level, all coarser ones added (Lin et al. 2017, "Feature Pyramid Networks")."""
    laterals = [
        keras.layers.Conv2D(CHANNELS, 1, name=f"lateral_{stride}")(level)
        for stride, level in zip(LEVELS, features, strict=True)
    ]
    levels = [laterals[-1]]
    for lateral in laterals[-2::-1]:
        levels.insert(0, keras.layers.Add()([lateral, keras.layers.UpSampling2D()(levels[0])]))
    return levels


def _head(level: keras.KerasTensor, name: str) -> keras.KerasTensor:
    for step in range(DEPTH):
        convolution = keras.layers.SeparableConv2D(
            CHANNELS, 3, padding="same", use_bias=False, name=f"{name}_{step}"
        )
        norm = keras.layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}_{step}_norm")
        level = norm(convolution(level))
        level = keras.layers.ReLU(6.0, name=f"{name}_{step}_relu")(level)
    return level


def _output(head: keras.KerasTensor, values: int, start: float, name: str) -> keras.KerasTensor:
    """`values` numbers for each cell of a level, all `start` at first: [N, cells, values]."""
    start_at = keras.initializers.Constant(start)
    grid = keras.layers.Conv2D(values, 1, bias_initializer=start_at, name=name)(head)
    return keras.layers.Reshape((-1, values))(grid)


def _corners(sides: keras.KerasTensor, size: int) -> keras.KerasTensor:
    """Logarithms of how far top, left, bottom and right are, to corners in shares of the input.

    The unit is two strides. The corners may lie outside of the picture: training needs them so.
    """
    middles, strides = cells(size)
    away = 2 * strides[:, None] / size * np.array([-1, -1, 1, 1], np.float32)
    moved = keras.ops.multiply(keras.ops.exp(sides), away[None])
    corners = keras.ops.add(moved, np.tile(middles / size, 2)[None])
    return keras.layers.Activation("linear", name=CORNERS)(corners)
