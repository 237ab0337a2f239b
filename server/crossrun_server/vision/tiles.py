"""Cuts a picture into overlapping tiles, for objects that are too small in the whole of it.

A model looks at the whole picture and at each tile. Knows numbers only: no pictures, no models.

Source: sliced inference with the whole picture beside it, F. C. Akyon et al., "Slicing Aided Hyper
Inference and Fine-tuning for Small Object Detection", 2022, whose overlap of 0.2 is the default.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from crossrun_server.vision import boxes
from crossrun_server.vision.boxes import Boxes, Resize, Size, View

OVERLAP, MOST_OVERLAP = 0.2, 0.5  # over a half, every place would be in three tiles of a row
EDGE = 0.01  # of a tile's side: a box that ends nearer to where it is cut is cut with it

Fit = Callable[[Size], Size]  # size of a picture, upright → size of the input for it


@dataclass(frozen=True)
class Tiles:
    """How a picture is cut: into columns and rows, each of which overlaps with the next."""

    columns: int = 1
    rows: int = 1
    overlap: float = OVERLAP  # share of a tile's side

    @property
    def looks(self) -> int:
        """How often a model looks at a picture: at the whole and at each tile."""
        count = self.columns * self.rows
        return 1 + count if count > 1 else 1

    @property
    def closer(self) -> float:
        """How many times a side of the picture is as long as that of a tile, at most."""
        return max(_times(self.columns, self.overlap), _times(self.rows, self.overlap))


WHOLE = Tiles()


def views(picture: Size, fit: Fit, resize: Resize, tiles: Tiles) -> list[View]:
    """Lay a picture into a model's input, and each tile of it.

    Tiles are cut from what the model sees of the whole picture, which is less if it is cropped, and
    fill the input as `resize` says; of a tile nothing is cropped.

    Args:
        picture: its size, upright.
        fit: returns the size of the input for a picture or a tile.
        resize: see `boxes.view`.
        tiles: how it is cut.

    Returns:
        The view of the whole, then those of the tiles, row by row.
    """
    whole = boxes.view(picture, fit(picture), resize)
    if tiles.looks == 1:
        return [whole]
    top, left, bottom, right = whole.source
    return [
        whole,
        *(
            _tile(whole, Size(y[0], x[0]), Size(y[1], x[1]), fit, resize)
            for y in _spans(top, bottom, tiles.rows, tiles.overlap)
            for x in _spans(left, right, tiles.columns, tiles.overlap)
        ),
    ]


def uncut(found: Boxes, view: View, whole: View) -> NDArray[np.bool_]:
    """Find the boxes that do not end where a tile is cut.

    What is smaller than the overlap lies whole in a neighbouring tile. What is larger is seen in
    the whole picture.

    Args:
        found: [n, 4], in pixels of the picture.
        view: in which they were found.
        whole: the view of the whole picture.
    """
    start, end = np.array(view.source).reshape(2, 2)
    first, last = np.array(whole.source).reshape(2, 2)
    margin = EDGE * (end - start)
    after = (found[:, :2] > start + margin) | (start <= first)
    before = (found[:, 2:] < end - margin) | (end >= last)
    inside: NDArray[np.bool_] = (after & before).all(axis=1)
    return inside


def widened(found: Boxes, whole: View) -> Boxes:
    """Widen boxes by a pixel of the whole picture's input, on each side.

    No box is more exact than a pixel of the input that it was found in. Of an object of few pixels
    two looks have boxes that overlap by less than a half.

    Args:
        found: [n, 4], in pixels of the picture.
        whole: the view of the whole picture.
    """
    wider: Boxes = found + np.concatenate([-whole.pixel, whole.pixel])
    return wider


def _times(count: int, overlap: float) -> float:
    return count - (count - 1) * overlap


def _spans(start: float, end: float, count: int, overlap: float) -> list[tuple[int, int]]:
    """Cut a side into parts of one length that overlap, of whole pixels."""
    length = (end - start) / _times(count, overlap)
    firsts = np.linspace(start, end - length, count).tolist()
    return [(floor(first), min(ceil(first + length), ceil(end))) for first in firsts]


def _tile(whole: View, start: Size, end: Size, fit: Fit, resize: Resize) -> View:
    size = Size(end.height - start.height, end.width - start.width)
    laid = boxes.view(size, fit(size), "stretch" if resize == "stretch" else "letterbox")
    return replace(laid, picture=whole.picture, source=(*start, *end))
