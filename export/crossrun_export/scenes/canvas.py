"""Brushes and paints: what every picture is made of, drawn into uint8 RGB pixels [S, S, 3].

It does not know how many objects a picture holds, nor where.
"""

import math
from collections.abc import Callable, Sequence
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from crossrun_export.scenes.shapes import SHAPES, Points, arc, polygon

Pixels = NDArray[np.uint8]
Box = tuple[int, int, int, int]
Colour = NDArray[np.float32]

# In alphabetical order, so that sorted folders and labels count alike.
CLASSES: tuple[str, ...] = tuple(SHAPES)

# Points handed to OpenCV are fixed-point numbers with this many fractional bits.
_SHIFT = 4


def paint(
    canvas: Pixels, rng: np.random.Generator, label: int, centre: Points, radius: float
) -> Box:
    """Paint one object of class `label` into `canvas` and return its box.

    Nothing of it lies further than `radius` from `centre`, (x, y) in pixels.
    """
    shape = SHAPES[CLASSES[label]](rng)
    place = _placement(rng, centre, radius)
    contours = [place(contour) for contour in shape.body]
    body = _coverage(canvas, contours)
    fill = _colour_against(rng, canvas[body > 127].mean(axis=0))
    _blend(canvas, body, fill, rng.uniform(-30, 30, 2))
    if shape.marks:
        marks = _coverage(canvas, [place(contour) for contour in shape.marks])
        _blend(canvas, np.minimum(marks, body), _colour_against(rng, fill), rng.uniform(-30, 30, 2))
    if rng.random() < 0.3:
        outline, colour = [_fixed(contour) for contour in contours], _random_colour(rng).tolist()
        cv2.polylines(canvas, outline, True, colour, 1, cv2.LINE_AA, _SHIFT)
    return _box(contours[0])


def background(rng: np.random.Generator, size: int) -> Pixels:
    """A gradient between two colours, with blotches of a random grain over it."""
    first, second = _random_colour(rng), _random_colour(rng)
    cells = int(rng.integers(2, 14))
    grain = rng.integers(0, 256, (cells, cells, 3), np.uint8)
    blotches = cv2.resize(grain, (size, size), interpolation=cv2.INTER_LINEAR)
    share = np.float32(rng.uniform(0.05, 0.35))
    slope = rng.uniform(-0.5, 0.5, 2) / size
    mixed = blotches * share
    mixed += _ramp(size, size, slope)[..., None] * ((second - first) * (1 - share))
    mixed += (first + second) * ((1 - share) / 2)
    return _to_pixels(mixed)


def clutter(canvas: Pixels, rng: np.random.Generator) -> None:
    """Lines, open arcs, corners and lopsided blobs: parts of things, none of them a class."""
    size = canvas.shape[0]
    parts = (_line, _open_arc, _corner, _blob)
    for _ in range(rng.integers(3, 10)):
        part = parts[rng.integers(len(parts))]
        part(canvas, rng, rng.uniform(0, size, 2), size * rng.uniform(0.05, 0.25))


def occlude(canvas: Pixels, rng: np.random.Generator, centre: Points, radius: float) -> None:
    """Let up to two blobs or lines hide parts of the object, near its rim rather than its heart."""
    for _ in range(rng.integers(0, 3)):
        angle, distance = rng.uniform(0, 2 * math.pi), radius * rng.uniform(0.6, 1.0)
        where = centre + distance * np.array([math.cos(angle), math.sin(angle)])
        part = (_line, _blob)[rng.integers(2)]
        part(canvas, rng, where, radius * rng.uniform(0.2, 0.45))


def _line(canvas: Pixels, rng: np.random.Generator, centre: Points, reach: float) -> None:
    angle = rng.uniform(0, math.pi)
    half = 1.5 * reach * np.array([math.cos(angle), math.sin(angle)])
    _stroke(canvas, rng, np.stack([centre - half, centre + half]), reach)


def _open_arc(canvas: Pixels, rng: np.random.Generator, centre: Points, reach: float) -> None:
    start = rng.uniform(0, 2 * math.pi)
    _stroke(canvas, rng, centre + arc(start, start + rng.uniform(1, 3.5), reach, 16), reach)


def _corner(canvas: Pixels, rng: np.random.Generator, centre: Points, reach: float) -> None:
    start = rng.uniform(0, 2 * math.pi)
    bend = arc(start, start + rng.uniform(1, 2.5), reach, 2)
    _stroke(canvas, rng, centre + np.array([bend[0], (0, 0), bend[1]]), reach)


def _stroke(canvas: Pixels, rng: np.random.Generator, points: Points, reach: float) -> None:
    thickness = 1 + int(reach * rng.uniform(0, 0.35))
    colour = _random_colour(rng).tolist()
    cv2.polylines(canvas, [_fixed(points)], False, colour, thickness, cv2.LINE_AA, _SHIFT)


def _blob(canvas: Pixels, rng: np.random.Generator, centre: Points, reach: float) -> None:
    corners = int(rng.integers(6, 10))
    outline = polygon(corners) * rng.uniform(0.4, 1.0, (corners, 1)) * (1, rng.uniform(0.3, 0.7))
    points = centre + reach * outline @ _rotation(rng)
    colour = _random_colour(rng).tolist()
    cv2.fillPoly(canvas, [_fixed(points)], colour, cv2.LINE_AA, _SHIFT)


def develop(canvas: Pixels, rng: np.random.Generator) -> Pixels:
    """Take the photograph: contrast and brightness, sometimes a blur, always some noise."""
    size = canvas.shape[0]
    if rng.random() < 0.35:
        sigma = size / 96 * rng.uniform(0.4, 0.9)
        canvas = cast(Pixels, cv2.GaussianBlur(canvas, (0, 0), sigma))
    contrast, brightness = np.float32(rng.uniform(0.6, 1.1)), np.float32(rng.uniform(-25, 25))
    values = rng.standard_normal(canvas.shape, np.float32)
    values *= np.float32(rng.uniform(1, 12))
    values += canvas * contrast
    values += brightness + (1 - contrast) * np.float32(127.5)
    return _to_pixels(values)


def _box(contour: Points) -> Box:
    (xmin, ymin), (xmax, ymax) = np.floor(contour.min(axis=0)), np.ceil(contour.max(axis=0))
    return int(ymin), int(xmin), int(ymax), int(xmax)


def _rotation(rng: np.random.Generator) -> Points:
    angle = rng.uniform(0, 2 * math.pi)
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.array([(cosine, sine), (-sine, cosine)])


def _placement(
    rng: np.random.Generator, centre: Points, radius: float
) -> Callable[[Points], Points]:
    """The map from unit coordinates to pixels: squashed a little, rotated, scaled, moved."""
    matrix = _rotation(rng) * (radius * np.array([[1.0], [rng.uniform(0.8, 1.0)]]))
    return lambda points: centre + points @ matrix


def _fixed(points: Points) -> NDArray[np.int32]:
    # OpenCV's coordinates name pixel centres; ours name the picture's surface.
    return np.rint((points - 0.5) * (1 << _SHIFT)).astype(np.int32)


def _coverage(canvas: Pixels, contours: Sequence[Points]) -> Pixels:
    """How much of each pixel the contours cover, 0 … 255: uint8 [S, S].

    Counted on a grid four times as fine: OpenCV's own smooth edges make shapes half a pixel fatter.
    """
    height, width = canvas.shape[:2]
    fine = np.zeros((4 * height, 4 * width), np.uint8)
    cv2.fillPoly(fine, [_fixed(4 * contour) for contour in contours], 255, cv2.LINE_8, _SHIFT)
    return cast(Pixels, cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA))


def _blend(canvas: Pixels, mask: Pixels, colour: Colour, shade: Points) -> None:
    """Lay `colour`, shaded by up to `shade` (x, y) grey levels across the object, over the mask."""
    x, y, width, height = cv2.boundingRect(mask)
    part = np.s_[y : y + height, x : x + width]
    shading = _ramp(height, width, shade / (height, width))[..., None]
    alpha = mask[part][..., None] * np.float32(1 / 255)
    under = canvas[part].astype(np.float32)
    canvas[part] = _to_pixels(under + (colour + shading - under) * alpha)


def _ramp(height: int, width: int, slope: Points) -> NDArray[np.float32]:
    """A plane through zero in the middle, rising by `slope` (x, y) a pixel: [height, width]."""
    down = (np.arange(height, dtype=np.float32) - height / 2) * np.float32(slope[1])
    right = (np.arange(width, dtype=np.float32) - width / 2) * np.float32(slope[0])
    return down[:, None] + right


def _to_pixels(values: NDArray[np.float32]) -> Pixels:
    """Round `values`, in place, to uint8."""
    np.rint(values, out=values)
    values.clip(0, 255, out=values)
    return values.astype(np.uint8)


def _random_colour(rng: np.random.Generator) -> Colour:
    return rng.integers(0, 256, 3).astype(np.float32)


def _colour_against(rng: np.random.Generator, other: Colour) -> Colour:
    """A random colour at least 170 grey levels, summed over RGB, away from `other`."""
    colour = _random_colour(rng)
    while np.abs(colour - other).sum() < 170:
        colour = _random_colour(rng)
    return colour
