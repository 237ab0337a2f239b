"""Box arithmetic: into a model's input and back, to a pixel, whatever the sizes."""

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from crossrun_server.vision import boxes, images
from crossrun_server.vision.boxes import RESIZES, Resize, Size
from tests.support.pictures import ORIENTATION, encoded

EXTREMES = [Size(1, 1), Size(10, 20_000), Size(20_000, 10), Size(1, 999), Size(333, 1)]
INPUTS = [Size(48, 64), Size(224, 224), Size(300, 200)]


def sizes(count: int) -> list[Size]:
    """Some of every order of magnitude."""
    drawn = np.exp(np.random.default_rng(7).uniform(0, np.log(5000), (count, 2)))
    return [*EXTREMES, *(Size(*pair) for pair in drawn.astype(int).tolist())]


def into_input(box: NDArray[np.float64], picture: Size, into: Size, resize: Resize) -> object:
    """Where a box of a picture comes to lie, by the words of the protocol; 1 is the input."""
    of_picture = np.array(picture * 2, float)
    of_input = np.array(into * 2, float)
    if resize == "stretch":
        return box / of_picture
    if resize == "crop":
        # The shorter side to the input's size divided by 0.875, then the middle cut out.
        scale = max(of_input / of_picture) / 0.875
        return ((box - of_picture / 2) * scale + of_input / 2) / of_input
    scale = min(of_input / of_picture)
    scaled = np.maximum(1, np.round(of_picture * scale))
    return (box * scaled / of_picture + (of_input - scaled) // 2) / of_input


@pytest.mark.parametrize("resize", RESIZES)
def test_a_box_comes_back_to_where_it_was(resize: Resize) -> None:
    """Into the input and back, at random sizes and extreme ones, a box is off by no pixel."""
    draw = np.random.default_rng(11)
    for picture in sizes(200):
        for into in INPUTS:
            corners = np.sort(draw.uniform(0, 1, (5, 2, 2)), axis=1).reshape(5, 4) * (picture * 2)
            inside = np.array([into_input(box, picture, into, resize) for box in corners])
            back = boxes.view(picture, into, resize).to_picture(inside)
            assert np.abs(back - corners).max() < 1e-6, (picture, into)


@pytest.mark.parametrize("resize", RESIZES)
def test_the_pixels_lie_where_the_boxes_say(resize: Resize) -> None:
    """What is white in the picture is white in the input, within one of its pixels."""
    for picture in [*EXTREMES, Size(37, 61), Size(400, 90), Size(91, 640), Size(700, 701)]:
        top, left = picture.height // 4, picture.width // 4
        bottom, right = top + max(1, picture.height // 2), left + max(1, picture.width // 2)
        image = Image.new("L", picture[::-1])
        image.paste(255, (left, top, right, bottom))
        pixels, view = images.load(encoded(image), Size(48, 64), resize)
        ys, xs = np.nonzero(pixels[..., 0] >= 128)
        found = np.array([[ys.min() / 48, xs.min() / 64, (ys.max() + 1) / 48, (xs.max() + 1) / 64]])
        seen = np.array(view.source)
        expected = np.clip((top, left, bottom, right), np.tile(seen[:2], 2), np.tile(seen[2:], 2))
        one_pixel = (seen[2:] - seen[:2]) / view.target_size
        off = np.abs(view.to_picture(found)[0] - expected)
        assert (off <= np.tile(one_pixel, 2) + 1e-9).all(), (picture, off)


def test_boxes_never_leave_the_picture() -> None:
    """What the model sees in the grey around a picture, or beside it, is cut off."""
    view = boxes.view(Size(100, 400), Size(64, 64), "letterbox")  # 16 rows, from 24 to 40
    beside = np.array([[-0.5, -0.5, 1.5, 1.5], [0.0, 0.2, 0.3, 0.4], [0.25, 0, 0.5, 0.25]])
    whole, grey, half = view.to_picture(beside)
    assert whole.tolist() == [0, 0, 100, 400]
    assert grey[0] == grey[2] == 0
    assert half.tolist() == [0, 0, 50, 100]


def test_any_order_and_unit_is_read() -> None:
    """Boxes in another order or unit mean the same."""
    box = np.array([[0.25, 0.5, 0.75, 1]])
    for order, unit, given in (
        ("yxyx", "normalised", [0.25, 0.5, 0.75, 1]),
        ("xyxy", "normalised", [0.5, 0.25, 1, 0.75]),
        ("yxyx", "pixels", [10, 40, 30, 80]),
        ("xyxy", "pixels", [40, 10, 80, 30]),
    ):
        read = boxes.normalised(np.array([given], np.float32), order, unit, Size(40, 80))
        assert np.array_equal(read, box)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_jpeg_decoded_smaller_lies_where_the_whole_one_would(orientation: int) -> None:
    """An eighth of 1801 pixels is 226, of which the last shows one pixel and what is beside it."""
    ramp = np.tile(np.linspace(0, 255, 1801).round().astype(np.uint8), (1801, 1))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    jpeg = encoded(Image.fromarray(ramp), "JPEG", quality=95, exif=exif)
    pixels, view = images.load(jpeg, Size(64, 64), "stretch")
    rising = np.rot90(pixels[..., 0], {1: 0, 3: 2, 6: 1, 8: 3}[orientation]).mean(axis=0)
    assert view.picture == (1801, 1801)
    off = rising - (np.arange(64) + 0.5) / 64 * 255
    assert abs(off[40:60].mean()) < 0.4
