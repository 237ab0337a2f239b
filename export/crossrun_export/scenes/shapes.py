"""The ten classes as outlines in unit coordinates.

Chosen to be confusable: disc, ring and crescent; square and triangle; star and cross; and three
textures on the outlines of three others. Knows no pixels, no colours and no place.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Shape:
    """An object in unit coordinates: closed contours, filled by the even-odd rule."""

    body: Sequence[Points]
    marks: Sequence[Points] = ()


def arc(start: float, stop: float, radius: float = 1.0, steps: int = 48) -> Points:
    """`steps` points, float64 [steps, 2], along a circle around the origin; angles in radians."""
    angles = start + (stop - start) / (steps - 1) * np.arange(steps)
    points = np.empty((steps, 2))
    points[:, 0], points[:, 1] = radius * np.cos(angles), radius * np.sin(angles)
    return points


def polygon(corners: int) -> Points:
    """The corners, float64 [corners, 2], of a regular polygon in the unit circle."""
    return arc(0, 2 * math.pi, steps=corners + 1)[:-1]


def _rectangle(x: float, y: float, width: float, height: float) -> Points:
    return np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)])


def _disc(_: np.random.Generator) -> Shape:
    return Shape([polygon(48)])


def _square(_: np.random.Generator) -> Shape:
    return Shape([polygon(4)])


def _triangle(_: np.random.Generator) -> Shape:
    return Shape([polygon(3)])


def _ring(rng: np.random.Generator) -> Shape:
    return Shape([polygon(48), rng.uniform(0.45, 0.75) * polygon(48)])


def _crescent(rng: np.random.Generator) -> Shape:
    """A unit disc with a bite: a disc of radius `bite` whose centre is `away` from its own."""
    away, bite = rng.uniform(0.45, 0.65), rng.uniform(0.7, 0.85)
    cosine = (1 + away**2 - bite**2) / (2 * away)
    outer = math.acos(cosine)
    inner = math.atan2(math.sin(outer), cosine - away)
    back = arc(2 * math.pi - inner, inner, bite) + np.array([away, 0.0])
    return Shape([np.concatenate([arc(outer, 2 * math.pi - outer), back])])


def _star(rng: np.random.Generator) -> Shape:
    points = int(rng.integers(5, 7))
    outline = polygon(2 * points)
    outline[1::2] *= rng.uniform(0.4, 0.6)
    return Shape([outline])


def _cross(rng: np.random.Generator) -> Shape:
    arm = rng.uniform(0.22, 0.4)
    quarter = np.array([(1.0, -arm), (1.0, arm), (arm, arm)])
    turn = np.array([(0.0, 1.0), (-1.0, 0.0)])
    turns = [quarter @ np.linalg.matrix_power(turn, k) for k in range(4)]
    return Shape([np.concatenate(turns) / math.hypot(1, arm)])


def _textured(marks: Callable[[float], list[Points]]) -> Callable[[np.random.Generator], Shape]:
    """A class known by its marks alone; its body has the outline of one of three others."""

    def shape(rng: np.random.Generator) -> Shape:
        body = (_disc, _square, _triangle)[rng.integers(3)](rng).body
        return Shape(body, marks(rng.uniform(0.5, 0.75)))

    return shape


def _grid(period: float) -> list[tuple[int, int]]:
    reach = math.ceil(1 / period)
    return [(row, column) for row in range(-reach, reach) for column in range(-reach, reach)]


def _stripes(period: float) -> list[Points]:
    reach = math.ceil(1 / period)
    return [_rectangle(k * period, -1, period / 2, 2) for k in range(-reach, reach)]


def _checks(period: float) -> list[Points]:
    half = period / 2
    cells = [(c * period, r * period) for r, c in _grid(period)]
    cells += [(x + half, y + half) for x, y in cells]
    return [_rectangle(x, y, half, half) for x, y in cells]


def _dots(period: float) -> list[Points]:
    dot = 0.3 * period * polygon(12)
    return [dot + period * np.array([c + 0.5, r + 0.5]) for r, c in _grid(period)]


SHAPES: dict[str, Callable[[np.random.Generator], Shape]] = {
    "checkered": _textured(_checks),
    "crescent": _crescent,
    "cross": _cross,
    "disc": _disc,
    "dotted": _textured(_dots),
    "ring": _ring,
    "square": _square,
    "star": _star,
    "striped": _textured(_stripes),
    "triangle": _triangle,
}
