"""Draws boxes and labels on pictures so that they can be read on any background.

A box is a bright line between two dark ones. A label is dark or light on a plate of the same bright
colour. Knows nothing of models and servers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from PIL import Image, ImageDraw, ImageFont

from crossrun_bench.client.colours import BLACK, Colour, colour, ink

Edges = tuple[float, float, float, float]  # left, top, right, bottom, in pixels

_LEAST_FONT = 11  # pixels; smaller text cannot be read
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

    Lines and letters grow with the picture.
    """
    drawn = picture.convert("RGB")
    if drawn is picture:
        drawn = picture.copy()
    canvas = ImageDraw.Draw(drawn)
    line = max(2, round(max(drawn.size) / 300))
    for mark in reversed(marks):
        _outline(canvas, mark, line)
    font = _font(drawn.size)
    for plate in reversed(plates(drawn.size, marks)):
        canvas.rectangle(_inclusive(plate.edges), plate.fill, BLACK)
        middle = (plate.edges[0] + plate.edges[2]) / 2, (plate.edges[1] + plate.edges[3]) / 2
        canvas.text(middle, plate.text, plate.ink, font, anchor="mm")
    return drawn


def plates(size: tuple[int, int], marks: Sequence[Mark]) -> list[Plate]:
    """Where labels go in a picture of `size`, width and height. There is none without room.

    All are inside the picture. Each takes the first place at its box, from above to inside, that
    no label before it covers, or the place that they cover least.
    """
    font, placed = _font(size), list[Plate]()
    for mark in marks:
        text = _shortened(mark.text, font, size[0])
        plate = _plate_size(text, font)
        if text and plate[1] <= size[1]:
            found = [_inside(corner, plate, size) for corner in _corners(mark.box, plate)]
            edges = min(found, key=lambda place: sum(_shared(place, p.edges) for p in placed))
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
    """Upper left corners for a plate: above a box, below, then inside, at its left or right."""
    left, top, right, bottom = box
    for y in (top - plate[1], bottom, top, bottom - plate[1]):
        for x in (left, right - plate[0]):
            yield x, y


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


def _font(size: tuple[int, int]) -> ImageFont.FreeTypeFont:
    """Pillow's own font, a fortieth of the picture's longer side."""
    return _sized(max(_LEAST_FONT, round(max(size) / 40)))
