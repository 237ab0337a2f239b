"""What the export assumes of a model's pixels, and why."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.graph import Array
from crossrun_export.preprocessing import affine, applications, ranges
from crossrun_export.preprocessing.affine import Affine
from crossrun_export.preprocessing.follow import Walk, follow
from crossrun_export.scaling import CHOICES, EXPECTED, Preprocessing, parse


def assume(model: keras.Model, asked: str | None) -> Preprocessing:
    """Find out which pixels a model takes.

    Args:
        model: of one input [batch, height, width, 3].
        asked: what --pixels says; None finds it out.

    Raises:
        ExportError: nothing tells it, or what is asked for is no range.
    """
    wanted = parse(asked) if asked else None
    try:
        found = _found(model)
    except ExportError as error:
        if wanted is None:
            raise ExportError(f"{model.name} {error}; say it by --pixels: {EXPECTED}") from error
        return Preprocessing(wanted, "asked for")
    if wanted is None or replace(wanted, name=found.scaling.name) == found.scaling:
        return found
    return Preprocessing(
        wanted, f"asked for, though {found.scaling.name} is expected: {found.because}"
    )


def _found(model: keras.Model) -> Preprocessing:
    dtype = model.inputs[0].dtype
    if "int" in dtype:
        return Preprocessing(CHOICES["0..255"], f"its input is {dtype}")
    walks = _walks(model)
    if several := _told_by_each(walks):
        return several
    lines = _lines(walks)
    if told := ranges.told(lines):
        return Preprocessing(CHOICES[told], _scaled(walks[told], [lines[told]]))
    if told := ranges.told(_lines({key: _normed(walk) for key, walk in walks.items()})):
        return Preprocessing(CHOICES[told], "by mean and variance of its first BatchNormalization")
    return _by_architecture(walks["0..255"], lines.get("0..255"))


def _walks(model: keras.Model) -> dict[str, Walk]:
    """What pictures of plain colours meet in the model, in each range."""
    _, height, width, _ = model.input_shape
    pictures = affine.pictures(height, width)
    walks = {key: follow(model, CHOICES[key].apply(pictures)) for key in ranges.RANGES}
    for walk in walks.values():
        if walk.obstacles:
            raise ExportError(f"cannot be followed through its {walk.obstacles[0]}")
        if not walk.arrivals:
            raise ExportError("has no weights")
    return walks


def _told_by_each(walks: Mapping[str, Walk]) -> Preprocessing | None:
    """The range that every one of several first layers tells, each in its own way, if they do."""
    count = len(walks["0..255"].arrivals)
    apart = [{key: Walk([walk.arrivals[i]]) for key, walk in walks.items()} for i in range(count)]
    told = {ranges.told(_lines(one)) for one in apart}
    if count == 1 or len(told) > 1 or None in told:
        return None
    (name,) = told
    lines = [affine.fit(arrival.values) for arrival in walks[str(name)].arrivals]
    return Preprocessing(CHOICES[str(name)], _scaled(walks[str(name)], list(filter(None, lines))))


def _lines(walks: Mapping[str, Walk]) -> dict[str, Affine]:
    """What the first layers with weights get of pixels, in each range where it is a line."""
    found = {key: _line(walk) for key, walk in walks.items()}
    return {key: line for key, line in found.items() if line}


def _line(walk: Walk) -> Affine | None:
    """The one line of all first layers with weights.

    Raises:
        ExportError: they get different ones.
    """
    lines = [affine.fit(arrival.values) for arrival in walk.arrivals]
    found = [line for line in lines if line]
    if not found or len(found) < len(lines):
        return None
    if not all(line.equals(found[0]) for line in found):
        names = " and ".join(repr(arrival.layer.name) for arrival in walk.arrivals)
        raise ExportError(f"scales pixels in several ways, before {names}")
    return found[0]


def _normed(walk: Walk) -> Walk:
    """What a batch norm makes of what reaches it, if that is the first layer with weights."""
    norms = [one for one in walk.arrivals if isinstance(one.layer, keras.layers.BatchNormalization)]
    return Walk([replace(one, values=_norm(one.layer, one.values)) for one in norms])


def _norm(layer: Any, values: Array) -> Array:
    mean, variance = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)
    return np.asarray((values - mean) / np.sqrt(variance + layer.epsilon))


def _by_architecture(walk: Walk, line: Affine | None) -> Preprocessing:
    """What an application of Keras takes.

    Raises:
        ExportError: it is none, or something is done to the pixels that tells nothing.
    """
    if line is None:
        raise ExportError("does something to pixels that is not scaling, before its first weights")
    if ranges.is_turned(line):
        raise ExportError("does not tell whether it takes RGB or BGR")
    if not line.equals(ranges.USUAL["0..255"]):
        raise ExportError(f"makes {_ends(line)} of 0..255 by itself, which tells no range")
    arrival = walk.arrivals[0]
    application = applications.known(arrival.layer, arrival.networks)
    if application is None:
        raise ExportError("does not scale pixels by itself, and is no network of Keras's own")
    if application.pixels is None:
        raise ExportError(f"is an {application.name} without the layers that scale pixels")
    return Preprocessing(CHOICES[application.pixels], f"{application.name}'s own, by architecture")


def _scaled(walk: Walk, lines: Sequence[Affine]) -> str:
    """What scales pixels, and to what."""
    changes = list(dict.fromkeys(walk.changes))
    verb = "makes" if len(changes) == 1 else "make"
    made = dict.fromkeys(ranges.usual(line) or _ends(line) for line in lines)
    return f"{' and '.join(changes)} {verb} {' and '.join(made)} of them"


def _ends(line: Affine) -> str:
    return "..".join(f"{round(end, 6) + 0:.3g}" for end in (line.ends.min(), line.ends.max()))
