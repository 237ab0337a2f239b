"""A finer feature map out of the same weights: the last stride taken out, what follows dilated.

Of the new map's cells each second, in both directions, is one of the old map's, to the last bit but
rounding (the algorithme à trous, Holschneider et al. 1989; in networks Chen et al. 2015). Knows
Keras's layers and nothing of what the map is for.
"""

from collections.abc import Mapping
from typing import Any

from crossrun_export.backend import keras

Config = dict[str, Any]

_layers = keras.layers
CONVOLUTIONS = (_layers.Conv2D, _layers.DepthwiseConv2D)
CELLWISE = (
    _layers.BatchNormalization,
    _layers.ReLU,
    _layers.Activation,
    _layers.Dropout,
    _layers.Add,
)


def dilated(features: keras.Model) -> tuple[keras.Model, int]:
    """Take the last stride out of a network [batch, H, W, 3] → [batch, h, w, channels].

    Returns:
        The network to [batch, h * s, w * s, channels] and s, the stride; the very network and 1
        where its last stride is in no convolution behind a padding of its own, or where something
        else than convolutions looks across cells after it.
    """
    layers = features.layers
    place = max((at for at, layer in enumerate(layers) if _stride(layer) > 1), default=0)
    strided, after = layers[place], layers[place + 1 :]
    padding = layers[place - 1]
    if not (_padded(padding, strided) and all(_can_follow(layer) for layer in after)):
        return features, 1
    changes = {strided.name: {"strides": (1, 1)}, padding.name: _wider(padding, strided)}
    rate = _stride(strided)
    changes |= {
        layer.name: {"dilation_rate": (rate, rate)}
        for layer in after
        if isinstance(layer, CONVOLUTIONS)
    }
    return _changed(features, changes), rate


def _stride(layer: Any) -> int:
    return max(getattr(layer, "strides", (1, 1)))


def _padded(padding: Any, strided: Any) -> bool:
    """Whether a layer with a stride has its zeros from a layer of their own, which can be wider."""
    return (
        isinstance(strided, CONVOLUTIONS)
        and strided.padding == "valid"
        and len(set(strided.strides)) == 1
        and isinstance(padding, _layers.ZeroPadding2D)
    )


def _can_follow(layer: Any) -> bool:
    return isinstance(layer, (*CONVOLUTIONS, *CELLWISE))


def _wider(padding: Any, strided: Any) -> Config:
    """As many zeros at the far ends as give each old cell `stride` new ones."""
    _, *sizes, _ = padding.input.shape
    _, *cells, _ = strided.output.shape
    return {
        "padding": tuple(
            (before, _stride(strided) * count + kernel - 1 - size - before)
            for size, count, kernel, (before, _) in zip(
                sizes, cells, strided.kernel_size, padding.padding, strict=True
            )
        )
    }


def _changed(model: keras.Model, changes: Mapping[str, Config]) -> keras.Model:
    def changed(layer: Any) -> Any:
        return layer.__class__.from_config(layer.get_config() | changes.get(layer.name, {}))

    clone = keras.models.clone_model(model, clone_function=changed)
    clone.set_weights(model.get_weights())
    return clone
