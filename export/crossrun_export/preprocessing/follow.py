"""Follows pictures through a Keras model up to its first layers with weights.

The model's own layers and operations run on them, through nested models, as they do at inference:
whatever scales, turns, pads or resizes is computed and not guessed. Knows nothing of ranges.
"""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from crossrun_export.backend import keras
from crossrun_export.graph import Array

_layers = keras.layers
CHAINS = (keras.Sequential, _layers.Pipeline)
Functional = type(keras.Model(*[keras.Input((1,))] * 2))


@dataclass(frozen=True)
class Arrival:
    """What reaches a first layer with weights."""

    layer: Any
    values: Array  # [pictures, ...]
    networks: tuple[Any, ...]  # those that hold the layer, the innermost last


@dataclass
class Walk:
    """What pictures met on their way."""

    arrivals: list[Arrival] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)  # what changed their values, in words
    obstacles: list[str] = field(default_factory=list)  # what could not be followed


def follow(model: keras.Model, pictures: Array) -> Walk:
    """Let pictures, float [count, height, width, 3], go through a model as far as is told here."""
    walk = Walk()
    _through(model, [keras.ops.convert_to_tensor(pictures)], (model,), walk)
    return walk


def _through(
    network: Any, inputs: Sequence[Any], networks: tuple[Any, ...], walk: Walk
) -> list[Any]:
    """The network's outputs; None for those behind a layer with weights."""
    if isinstance(network, CHAINS):
        for layer in network.layers:
            if not inputs or inputs[0] is None:
                break
            inputs = _step(layer, inputs, {}, networks, walk)
        return list(inputs)
    known = {
        id(tensor): keras.ops.cast(value, tensor.dtype)
        for tensor, value in zip(network.inputs, inputs, strict=True)
        if value is not None
    }
    for node in _nodes(network):
        if node.is_input or any(id(tensor) not in known for tensor in node.input_tensors):
            continue
        args, named = node.arguments.fill_in(known)
        found = _step(node.operation, args, named, networks, walk)
        pairs = zip(node.outputs, found, strict=False)
        known |= {id(tensor): value for tensor, value in pairs if value is not None}
    return [known.get(id(tensor)) for tensor in network.outputs]


def _nodes(network: Any) -> Iterator[Any]:
    """In an order in which they can run. Keras has no public name for it."""
    by_depth = network._nodes_by_depth
    for depth in sorted(by_depth, reverse=True):
        yield from by_depth[depth]


def _step(
    operation: Any,
    args: Sequence[Any],
    named: dict[str, Any],
    networks: tuple[Any, ...],
    walk: Walk,
) -> list[Any]:
    """What one operation makes of values; nothing if it has weights or cannot be followed."""
    tensors = [value for value in keras.tree.flatten((args, named)) if keras.ops.is_tensor(value)]
    if isinstance(operation, (*CHAINS, Functional)):
        return _through(operation, keras.tree.flatten(args), (*networks, operation), walk)
    if _has_weights(operation):
        if isinstance(getattr(operation, "layer", operation), keras.Model):
            walk.obstacles.append(_named(operation, networks))
        else:
            walk.arrivals += [Arrival(operation, np.asarray(one), networks) for one in tensors]
        return []
    try:
        found: list[Any] = keras.tree.flatten(operation(*args, **named | _at_inference(operation)))
    except Exception:  # noqa: BLE001 - a layer of any kind raises what it likes
        walk.obstacles.append(_named(operation, networks))
        return []
    if _range(found[0]) != _range(tensors[0]):
        walk.changes.append(_named(operation, networks))
    return found


def _has_weights(operation: Any) -> bool:
    """Of a Normalization they are no weights: they are what it scales by."""
    return bool(getattr(operation, "weights", ())) and not isinstance(
        operation, _layers.Normalization
    )


def _at_inference(operation: Any) -> dict[str, Any]:
    """Layers that augment pictures do so unless they are told."""
    is_layer = isinstance(operation, _layers.Layer)
    takes = is_layer and "training" in inspect.signature(operation.call).parameters
    return {"training": False} if takes else {}


def _named(operation: Any, networks: tuple[Any, ...]) -> str:
    where = f" inside {networks[-1].name!r}" if len(networks) > 1 else ""
    return f"{type(operation).__name__}{where}"


def _range(values: Any) -> tuple[float, float]:
    array = np.asarray(values)
    return float(array.min()), float(array.max())
