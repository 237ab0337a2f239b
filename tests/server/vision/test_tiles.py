"""Tiles of a picture: where they lie, what they show, and what of several looks is one object."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from crossrun_server.vision import boxes, images, tiles
from crossrun_server.vision.boxes import RESIZES, Resize, Size, View
from crossrun_server.vision.suppression import suppress
from crossrun_server.vision.tiles import Tiles
from tests.support.pictures import ORIENTATION, encoded

INPUT = Size(48, 64)
SIZES = [Size(1, 1), Size(3, 5000), Size(700, 40), Size(900, 1352), Size(333, 777)]
SAME = np.array([0.5, 0.4, 0.3]), np.zeros(3), 0.5
LOOKS = np.arange(3)
CUTS = [Tiles(2, 2), Tiles(3, 1, 0.5), Tiles(1, 4, 0.0), Tiles(7, 5)]


def views(picture: Size, resize: Resize, cut: Tiles) -> list[View]:
    return tiles.views(picture, lambda _: INPUT, resize, cut)


def spans(found: Sequence[View], axis: int) -> list[tuple[float, float]]:
    """Where the views begin and end, along one axis."""
    return sorted({(view.source[axis], view.source[axis + 2]) for view in found})


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("cut", CUTS)
def test_tiles_cover_what_the_model_sees(cut: Tiles, resize: Resize) -> None:
    """From edge to edge, with as much in common as asked, behind the whole picture."""
    for picture in SIZES:
        whole, *parts = views(picture, resize, cut)
        assert whole == boxes.view(picture, INPUT, resize)
        assert len(parts) == cut.columns * cut.rows == cut.looks - 1
        for axis in (0, 1):
            found = spans(parts, axis)
            first, last = whole.source[axis], whole.source[axis + 2]
            assert found[0][0] <= first < found[0][0] + 1
            assert found[-1][1] >= last > found[-1][1] - 1
            for (start, end), (following, _) in pairwise(found):
                assert abs(end - following - cut.overlap * (end - start)) <= 2


@pytest.mark.parametrize(
    ("resize", "alike"), [("letterbox", True), ("crop", True), ("stretch", False)]
)
def test_a_tile_keeps_its_proportions_unless_it_is_stretched(resize: Resize, alike: bool) -> None:
    """Its pixels are as high as wide, as those of the whole picture are."""
    for view in views(Size(900, 1352), resize, Tiles(4, 1))[1:]:
        high, wide = view.pixel
        assert (high == pytest.approx(wide, rel=0.05)) == alike


def test_one_tile_is_the_whole_picture() -> None:
    """It is looked at once."""
    assert Tiles(1, 1).looks == 1
    assert views(Size(20, 30), "stretch", Tiles(1, 1)) == [
        boxes.view(Size(20, 30), INPUT, "stretch")
    ]


@pytest.mark.parametrize("resize", RESIZES)
def test_the_pixels_of_a_tile_lie_where_its_boxes_say(resize: Resize) -> None:
    """What is white in the picture is found there by each look that sees all of it, upright."""
    box = (250, 330, 290, 390)
    image = Image.new("L", (800, 600))
    image.paste(255, (box[1], box[0], box[3], box[2]))
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # lies on its left side, and is stood up
    lying = image.transpose(Image.Transpose.ROTATE_90)
    for file in (encoded(image), encoded(lying, exif=exif)):
        looks = images.looks(file, INPUT, resize, Tiles(3, 2))
        seeing = [look for look in looks if sees(look.view, box)]
        assert len(seeing) >= 2
        for pixels, view in seeing:
            ys, xs = np.nonzero(pixels[..., 0] >= 128)
            edges = np.array(
                [[ys.min() / 48, xs.min() / 64, (ys.max() + 1) / 48, (xs.max() + 1) / 64]]
            )
            one_pixel = np.diff(np.array(view.source).reshape(2, 2), axis=0) / view.target_size
            assert (np.abs(view.to_picture(edges)[0] - box) <= np.tile(one_pixel, 2) + 1e-9).all()


def sees(view: View, box: tuple[float, ...]) -> bool:
    top, left, bottom, right = view.source
    return top < box[0] and left < box[1] and bottom > box[2] and right > box[3]


def test_a_large_photograph_keeps_what_its_tiles_show() -> None:
    """A JPEG that is decoded small for the whole picture is decoded larger for tiles."""
    noise = np.random.default_rng(3).integers(0, 256, (94, 125, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((2000, 1500), Image.Resampling.NEAREST)
    cut = Tiles(12, 12)
    jpeg, png = (
        images.looks(encoded(image, kind, **options), INPUT, "stretch", cut)
        for kind, options in (("JPEG", {"quality": 95}), ("PNG", {"compress_level": 1}))
    )
    for ours, exact in zip(jpeg[1::13], png[1::13], strict=True):
        assert np.abs(ours.pixels.astype(int) - exact.pixels).mean() < 6


def test_every_small_object_is_whole_in_some_tile() -> None:
    """If it is smaller than what two tiles have in common, wherever it lies."""
    draw = np.random.default_rng(5)
    picture = Size(900, 1352)
    for cut in CUTS[:2]:
        whole, *parts = views(picture, "stretch", cut)
        tile = np.array(parts[0].source[2:]) - parts[0].source[:2]
        margins = np.where(tile < picture, 2 * tiles.EDGE, 0)
        most = np.where(tile < picture, (cut.overlap - margins) * tile - 2, tile)
        sides = draw.uniform(0.2, 1, (300, 2)) * most
        corners = draw.uniform(0, 1, (300, 2)) * (np.array(picture) - sides)
        found = np.hstack([corners, corners + sides])
        uncut = [
            tiles.uncut(found, part, whole) & [sees_inside(part, box) for box in found]
            for part in parts
        ]
        assert np.any(uncut, axis=0).all()


def sees_inside(view: View, box: NDArray[np.float64]) -> bool:
    source = np.array(view.source)
    return bool((box[:2] >= source[:2]).all() and (box[2:] <= source[2:]).all())


def test_what_a_tile_cuts_is_left_out() -> None:
    """A box that ends at an edge inside the picture; not one at the picture's own edge."""
    whole, upper_left, *_, lower_right = views(Size(600, 800), "stretch", Tiles(2, 2))
    bottom, right = upper_left.source[2:]
    found = np.array(
        [
            [0, 0, 50, 50],
            [100, 100, bottom, 200],
            [100, 100, 200, right - 1],
            [100, 100, bottom - 20, right - 20],
        ]
    )
    assert tiles.uncut(found, upper_left, whole).tolist() == [True, False, False, True]
    assert tiles.uncut(found, whole, whole).all()
    at_the_end = np.array([[500.0, 700, 600, 800], [*lower_right.source[:2], 600, 800]])
    assert tiles.uncut(at_the_end, lower_right, whole).tolist() == [True, False]


def test_a_box_is_no_better_than_a_pixel_of_the_input() -> None:
    """Of a thing of few pixels two looks have boxes that differ by more than a half of it."""
    whole = boxes.view(Size(900, 1352), Size(512, 512), "stretch")
    coarse, fine, other = (
        [377.1, 757.7, 392, 773.1],
        [379.5, 760.5, 390.4, 771],
        [380, 775, 391, 785],
    )
    found = tiles.widened(np.array([coarse, fine, other]), whole)
    assert suppress(np.array([coarse, fine, other]), *SAME, looks=LOOKS).tolist() == [0, 1, 2]
    assert suppress(found, *SAME, looks=LOOKS).tolist() == [0, 2]


def merged(*rows: tuple[float, int, int, tuple[int, ...]], iou: float = 0.5) -> list[int]:
    """Of rows of score, class, look and box."""
    scores, classes, looks, found = map(np.array, zip(*rows, strict=True))
    return [int(row) for row in suppress(found, scores, classes, iou, looks=looks)]


def test_of_one_object_the_best_look_stays() -> None:
    """Best first; another class in its place, and another place, are other objects."""
    assert merged(
        (0.4, 0, 0, (0, 0, 10, 10)),
        (0.9, 0, 1, (1, 0, 10, 10)),
        (0.6, 1, 2, (0, 0, 10, 10)),
        (0.5, 0, 2, (0, 0, 10, 11)),
        (0.7, 0, 2, (0, 8, 10, 18)),
    ) == [1, 4, 2]


def test_one_look_keeps_all_that_it_found() -> None:
    """People who stand close are several, if the model says so; other looks add nobody."""
    close = [(0.9, 0, (0, 0, 10, 10)), (0.8, 0, (0, 2, 10, 12))]
    rows = [
        (score - look / 100, label, look, box) for look in (0, 1) for score, label, box in close
    ]
    assert merged(*rows) == [0, 1]
    assert merged(*rows, iou=1) == [0, 2, 1, 3]
