"""Composes pictures: one object, one alone on black, or several that overlap.

Every picture knows what it shows and where, and is the same for the same (seed, index).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossrun_export.scenes.canvas import (
    CLASSES,
    Box,
    Pixels,
    background,
    clutter,
    develop,
    occlude,
    paint,
)
from crossrun_export.scenes.shapes import Points

MOST_THINGS = 5
# Shares of a picture's edge; at 160 pixels about what `draw` draws at 96.
_RADII = (0.12, 0.24)
# Two centres are no nearer than this share of both radii: outlines overlap, none is swallowed.
_APART = 0.65
_TRIES = 50


@dataclass(frozen=True)
class Scene:
    """One picture: uint8 RGB pixels [S, S, 3], the class it shows, and where.

    `box` is (ymin, xmin, ymax, xmax) in pixels, the last two exclusive: the tight box of the
    object's whole outline, hidden parts included.
    """

    pixels: Pixels
    label: int
    box: Box


@dataclass(frozen=True)
class Thing:
    """One of several objects: its class, and its box as in `Scene`."""

    label: int
    box: Box


@dataclass(frozen=True)
class Group:
    """One picture of several objects: uint8 RGB [S, S, 3], and its objects, back to front."""

    pixels: Pixels
    things: tuple[Thing, ...]


def draw(seed: int, index: int, size: int) -> Scene:
    """Draw picture `index` of the series `seed` at `size` x `size` pixels.

    Ten successive indices hold every class once: the label is `index % 10`.
    """
    rng = _rng(seed, index)
    label = index % len(CLASSES)
    canvas = background(rng, size)
    clutter(canvas, rng)
    radius = size * rng.uniform(0.2, 0.4)
    centre = rng.uniform(radius, size - radius, 2)
    box = paint(canvas, rng, label, centre, radius)
    occlude(canvas, rng, centre, radius)
    return Scene(develop(canvas, rng), label, box)


def draw_plain(seed: int, index: int, size: int) -> Scene:
    """Draw the object alone, large and on black: what a model can learn its first edges from."""
    rng = _rng(seed, index)
    label = index % len(CLASSES)
    canvas = np.zeros((size, size, 3), np.uint8)
    radius = size * rng.uniform(0.25, 0.45)
    box = paint(canvas, rng, label, rng.uniform(radius, size - radius, 2), radius)
    return Scene(canvas, label, box)


def draw_several(seed: int, index: int, size: int) -> Group:
    """Draw picture `index` of the series `seed`, of one to five objects, at `size` x `size` pixels.

    Objects overlap, the smaller in front of the larger. Classes are drawn by chance.
    """
    rng = _rng(seed, index)
    canvas = background(rng, size)
    clutter(canvas, rng)
    places = list(_places(rng, size))
    things = []
    for centre, radius in places:
        label = int(rng.integers(len(CLASSES)))
        things.append(Thing(label, paint(canvas, rng, label, centre, radius)))
    for centre, radius in places:
        occlude(canvas, rng, centre, radius)
    return Group(develop(canvas, rng), tuple(things))


def batch(seed: int, start: int, count: int, size: int) -> tuple[Pixels, NDArray[np.int64]]:
    """Draw `count` pictures from index `start` on: uint8 [count, size, size, 3], int64 [count]."""
    pixels = np.empty((count, size, size, 3), np.uint8)
    labels = np.empty(count, np.int64)
    for place in range(count):
        scene = draw(seed, start + place, size)
        pixels[place], labels[place] = scene.pixels, scene.label
    return pixels, labels


def _rng(seed: int, index: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([seed, index]))


def _places(rng: np.random.Generator, size: int) -> Iterator[tuple[Points, float]]:
    """Centres and radii, pixels, the largest first; what finds no room is left out."""
    taken: list[tuple[Points, float]] = []
    count = int(rng.integers(1, MOST_THINGS + 1))
    for radius in sorted(size * rng.uniform(*_RADII, count), reverse=True):
        for centre in rng.uniform(radius, size - radius, (_TRIES, 2)):
            if all(np.hypot(*(centre - c)) > _APART * (radius + r) for c, r in taken):
                taken.append((centre, radius))
                yield centre, radius
                break
