"""Draws boxes and labels on pictures so that they can be read on any background.

A box is a bright line between two dark ones. A label is dark or light on a plate of the same bright
colour. Knows nothing of models and servers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from PIL import Image, ImageDraw, ImageFont

from crossrun_bench.client.colours import BLACK, Colour, colour, ink

Edges = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

_LEAST_FONT = 11  # pixels; smaller text cannot be read
_CROWD = 10  # labels; more are written smaller
_ELLIPSIS = "…"


@dataclass(frozen=True)
class Mark:
    """A box to draw, its label, and the class that gives it its colour."""

    box: Edges
    text: str
    number: int  # from 0


@dataclass(frozen=True)
class Plate:
    """A label and the rectangle behind it."""

    edges: Edges
    text: str
    fill: Colour
    ink: Colour


def draw(picture: Image.Image, marks: Sequence[Mark]) -> Image.Image:
    """A copy of a picture, RGB, with the marks on it; where marks overlap, the first is on top.

    Lines and letters grow with the picture. Small boxes have thin lines, so that what is in them is
    seen; many marks have small letters.
    """
    drawn = picture.convert("RGB")
    if drawn is picture:
        drawn = picture.copy()
    canvas = ImageDraw.Draw(drawn)
    for mark in reversed(marks):
        _outline(canvas, mark, _line(drawn.size, mark.box))
    font = _font(drawn.size, len(marks))
    for plate in reversed(plates(drawn.size, marks)):
        canvas.rectangle(_inclusive(plate.edges), plate.fill, BLACK)
        middle = (plate.edges[0] + plate.edges[2]) / 2, (plate.edges[1] + plate.edges[3]) / 2
        canvas.text(middle, plate.text, plate.ink, font, anchor="mm")
    return drawn


def plates(size: tuple[int, int], marks: Sequence[Mark]) -> list[Plate]:
    """Where labels go in a picture of `size`, width and height.

    All are inside the picture, and none covers another. Each takes the place at its box that covers
    the least of other boxes. There is none without room.
    """
    font, placed = _font(size, len(marks)), list[Plate]()
    for mark in marks:
        text = _shortened(mark.text, font, size[0])
        plate = _plate_size(text, font)
        found = [_inside(corner, plate, size) for corner in _corners(mark.box, plate)]
        free = [at for at in found if not any(_shared(at, other.edges) for other in placed)]
        if text and plate[1] <= size[1] and free:
            edges = min(free, key=lambda at: sum(_shared(at, other.box) for other in marks))
            fill = colour(mark.number)
            placed.append(Plate(edges, text, fill, ink(fill)))
    return placed


def _outline(canvas: ImageDraw.ImageDraw, mark: Mark, line: int) -> None:
    """A dark line on both sides of the bright one, half as wide."""
    left, top, right, bottom = _inclusive(mark.box)
    dark = (line + 1) // 2
    around = left - dark, top - dark, right + dark, bottom + dark
    canvas.rectangle(around, outline=BLACK, width=line + 2 * dark)
    canvas.rectangle((left, top, right, bottom), outline=colour(mark.number), width=line)


def _inclusive(edges: Edges) -> tuple[int, int, int, int]:
    """Pillow's form: the pixels of all four sides belong to the rectangle."""
    left, top, right, bottom = map(round, edges)
    return left, top, max(left, right - 1), max(top, bottom - 1)


def _corners(box: Edges, plate: tuple[int, int]) -> Iterator[tuple[float, float]]:
    """Upper left corners for a plate: above a box, below, beside, then inside it."""
    left, top, right, bottom = box
    above, inside_right = top - plate[1], right - plate[0]
    yield from product((left, inside_right), (above, bottom))
    yield from product((right, left - plate[0]), (top, bottom - plate[1]))
    yield from product((left, inside_right), (top, bottom - plate[1]))


def _inside(corner: tuple[float, float], plate: tuple[int, int], size: tuple[int, int]) -> Edges:
    """A plate at a corner, moved into the picture."""
    ends = zip(corner, size, plate, strict=True)
    x, y = (min(max(round(at), 0), whole - own) for at, whole, own in ends)
    return x, y, x + plate[0], y + plate[1]


def _shared(one: Edges, other: Edges) -> float:
    """The area that two rectangles share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)


def _shortened(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """As much of a text as a plate of that width holds; empty if not even a letter fits."""
    if _plate_size(text, font)[0] <= width:
        return text
    parts = (text[:end].rstrip() + _ELLIPSIS for end in range(len(text) - 1, 0, -1))
    return next((part for part in parts if _plate_size(part, font)[0] <= width), "")


def _plate_size(text: str, font: ImageFont.FreeTypeFont) -> tuple[int, int]:
    ascent, descent = font.getmetrics()
    return round(font.getlength(text) + font.size * 0.6), ascent + descent + 2


@cache
def _sized(pixels: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(pixels)
    assert isinstance(font, ImageFont.FreeTypeFont)  # Pillow's wheels have FreeType
    return font


def _font(size: tuple[int, int], labels: int) -> ImageFont.FreeTypeFont:
    """Pillow's own font, a fortieth of the picture's longer side, or half of that in a crowd."""
    share = 80 if labels > _CROWD else 40
    return _sized(max(_LEAST_FONT, round(max(size) / share)))


def _line(size: tuple[int, int], box: Edges) -> int:
    """How wide a line is: a three hundredth of the picture, or less if the box is small."""
    left, top, right, bottom = box
    shorter = min(right - left, bottom - top)
    return max(1, min(max(2, round(max(size) / 300)), round(shorter / 16)))
