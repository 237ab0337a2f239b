"""Pictures for tests, and what is to be found in them."""

import io

from PIL import Image

ORIENTATION = 0x0112  # EXIF tag


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def plain(red: int, green: int, blue: int, kind: str = "PNG") -> bytes:
    return encoded(Image.new("RGB", (20, 10), (red, green, blue)), kind)


def rectangle(box: tuple[int, int, int, int] | None, colour: tuple[int, int, int]) -> Image.Image:
    """128 x 96 pixels, grey, with a rectangle (left, top, right, bottom)."""
    image = Image.new("RGB", (128, 96), (90, 90, 90))
    if box:
        image.paste(colour, box)
    return image


def halves() -> Image.Image:
    """Left half red, right half blue."""
    image = Image.new("RGB", (40, 20), (255, 0, 0))
    image.paste((0, 0, 255), (20, 0, 40, 20))
    return image


RED, GREEN, BLUE = (255, 0, 0), (0, 204, 0), (0, 0, 153)


def scene(size: tuple[int, int] = (640, 480)) -> Image.Image:
    """Red above, green in the middle, blue below, on grey."""
    image = Image.new("RGB", size, (90, 90, 90))
    for colour, box in zip((RED, GREEN, BLUE), boxes(size), strict=True):
        image.paste(colour, box)
    return image


def boxes(size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    width, height = size
    shares = (0.25, 0.15, 0.75, 0.3), (0.375, 0.45, 0.5, 0.6), (0.15, 0.7, 0.4, 0.8)
    return [
        (int(left * width), int(top * height), int(right * width), int(bottom * height))
        for left, top, right, bottom in shares
    ]


COLOURS = {"red": (200, 30, 60), "green": (20, 190, 80), "blue": (50, 90, 210)}
