"""Boxes and labels on pictures can be read, whatever is behind them."""

from itertools import combinations

import numpy as np
import pytest
from PIL import Image

from crossrun_bench.client.colours import BLACK, colour, contrast, difference, ink
from crossrun_bench.client.drawing import Edges, Mark, Plate, draw, plates


def marks(size: tuple[int, int], count: int) -> list[Mark]:
    """Boxes anywhere, some of them partly outside."""
    rng = np.random.default_rng(count)
    width, height = size
    found = []
    for number in range(count):
        left, top = rng.uniform(-0.1, 0.9, 2) * size
        box = (
            left,
            top,
            left + rng.uniform(0.1, 0.5) * width,
            top + rng.uniform(0.1, 0.5) * height,
        )
        found.append(Mark(box, f"military uniform 0.{number:02}", number))
    return found


def overlap(one: Edges, other: Edges) -> bool:
    return max(one[0], other[0]) < min(one[2], other[2]) and max(one[1], other[1]) < min(
        one[3], other[3]
    )


def test_letters_and_lines_stand_out() -> None:
    """Against its plate a letter has WCAG's 4.5, against the dark lines a bright one its 3."""
    fills = [colour(number) for number in range(100)]
    assert min(contrast(ink(fill), fill) for fill in fills) >= 4.5
    assert min(contrast(BLACK, fill) for fill in fills) >= 3
    assert contrast((255, 255, 255), BLACK) == pytest.approx(21)


def test_eighty_classes_have_colours_that_differ() -> None:
    """All of them by eight times of what the eye sees, and the first ten far more."""
    fills = [colour(number) for number in range(80)]
    assert min(difference(*pair) for pair in combinations(fills, 2)) > 8 * 2.3
    assert min(difference(*pair) for pair in combinations(fills[:10], 2)) > 50
    assert difference((255, 255, 255), BLACK) == pytest.approx(100, abs=0.1)


@pytest.mark.parametrize("size", [(160, 160), (640, 480), (3000, 500), (120, 900)])
def test_labels_stay_inside_the_picture(size: tuple[int, int]) -> None:
    """Of boxes at its edges and beyond them, too; none covers another."""
    found = plates(size, marks(size, 12))
    assert len(found) >= 5
    for left, top, right, bottom in (plate.edges for plate in found):
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]
    assert not any(overlap(a.edges, b.edges) for a, b in combinations(found, 2))


def test_labels_make_way_for_each_other() -> None:
    """Six objects in one place have six labels; of a crowd the best have them."""
    same = [Mark((200, 200, 400, 300), f"star 0.{n:02}", n) for n in range(40)]
    assert len(plates((640, 480), same[:6])) == 6
    crowd = [plate.text for plate in plates((640, 480), same)]
    assert crowd == [mark.text for mark in same if mark.text in crowd]
    assert crowd[0] == same[0].text
    assert 6 <= len(crowd) < 40


def test_a_label_covers_no_other_object_if_it_need_not() -> None:
    """Where one stands above a box, its label goes below or beside."""
    low, high = Mark((200, 200, 260, 260), "star", 0), Mark((190, 120, 330, 198), "disc", 1)
    labels = {plate.text: plate.edges for plate in plates((640, 480), [low, high])}
    assert not overlap(labels["star"], high.box)
    assert not overlap(labels["disc"], low.box)


def test_what_is_in_a_small_box_is_seen() -> None:
    """Of a box of 12 x 30 pixels in a large picture more than half stays as it is."""
    picture = Image.new("RGB", (1352, 900), (128, 128, 128))
    drawn = np.asarray(draw(picture, [Mark((700, 400, 712, 430), "person 0.40", 0)]))
    assert (drawn[400:430, 700:712] == 128).all(axis=2).mean() > 0.5


def test_a_label_without_room_is_shortened_or_left_out() -> None:
    """Its beginning stays while there is room for a letter."""
    (plate,) = plates((80, 60), [Mark((10, 30, 40, 50), "military uniform 0.90", 0)])
    assert plate.text.endswith("…")
    assert "military uniform".startswith(plate.text[:-1])
    assert plates((80, 6), [Mark((0, 0, 9, 5), "star", 0)]) == []
    assert draw(Image.new("RGB", (1, 1)), [Mark((0, 0, 1, 1), "star", 0)]).size == (1, 1)


@pytest.mark.parametrize("background", [(0, 0, 0), (255, 255, 255), colour(4), (128, 128, 128)])
def test_what_is_drawn_is_there_on_any_background(background: tuple[int, int, int]) -> None:
    """Beside the bright line a dark one, and on the plate letters; the picture itself stays."""
    picture = Image.new("RGB", (320, 240), background)
    mark = Mark((100, 100, 200, 180), "star 0.99", 4)
    drawn = np.asarray(draw(picture, [mark]))
    across = {tuple(pixel) for pixel in drawn[140, 95:106].tolist()}
    assert {colour(4), BLACK} <= across
    (plate,) = plates(picture.size, [mark])
    left, top, right, bottom = map(round, plate.edges)
    label = drawn[top + 1 : bottom - 1, left + 1 : right - 1].reshape(-1, 3)
    letters = (np.abs(label - np.array(plate.fill)).sum(axis=1) > 200).mean()
    assert 0.05 < letters < 0.5
    assert picture.getcolors() == [(320 * 240, background)]


def test_a_class_has_one_colour() -> None:
    """Whichever objects are around it."""
    alone, among = Mark((0, 0, 9, 9), "star", 3), Mark((50, 50, 90, 90), "disc", 1)

    def fill(found: list[Plate]) -> tuple[int, int, int]:
        return next(plate.fill for plate in found if plate.text == "star")

    size = (320, 240)
    assert fill(plates(size, [alone])) == fill(plates(size, [among, alone])) == colour(3)
