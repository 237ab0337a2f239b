"""Detect on every kind of picture, over a real connection: the right boxes, or INVALID_ARGUMENT."""

import io
import struct
import zlib
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Transpose

from crossrun.v1 import vision_pb2 as pb
from crossrun.v1.vision_pb2_grpc import VisionStub
from tests.support.pictures import ORIENTATION, RED, boxes, encoded, scene
from tests.support.requests import refusal
from tests.support.running import Server
from tests.support.vision import HOW, corners, detect, labels

# What a camera does to an upright scene, by the orientation that it then writes.
STORED = {
    1: None,
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_90,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_270,
}


@pytest.fixture
def stub(detecting: Server) -> Iterator[VisionStub]:
    with grpc.insecure_channel(detecting.address) as channel:
        yield VisionStub(channel)


def check(found: pb.Detections, size: tuple[int, int]) -> None:
    """The scene's three boxes, each within a pixel of the input."""
    assert (found.width, found.height) == size
    step = 1.1 * max(size[0] / 64, size[1] / 48)
    for one, box in zip(found.detections, boxes(size), strict=True):
        assert corners(one) == pytest.approx(box, abs=step)


@pytest.mark.parametrize("resize", HOW)
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", STORED)
def test_boxes_are_those_of_the_upright_picture(
    stub: VisionStub, orientation: int, kind: str, resize: int
) -> None:
    """It does not matter how a camera was held, or whether a JPEG is decoded smaller."""
    size = (1805, 1603)
    image, exif, how = scene(size), Image.Exif(), STORED[orientation]
    exif[ORIENTATION] = orientation
    stored = image.transpose(how) if how is not None else image
    check(detect(stub, encoded(stored, kind, exif=exif), resize=resize).results[0], size)


def png16(pixels: NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits for each colour, which Pillow does not write."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


@pytest.mark.parametrize(
    "picture",
    [
        encoded(scene().convert("CMYK"), "JPEG", quality=95),
        encoded(scene().quantize(8)),
        encoded(scene().convert("RGBA")),
        encoded(scene(), "PNG", save_all=True, append_images=[Image.new("RGB", (640, 480))]),
        encoded(scene(), "JPEG", progressive=True),
        png16(np.asarray(scene()).astype(np.uint16) * 257),
    ],
    ids=["CMYK", "palette", "alpha", "animated", "progressive", "16 bits"],
)
def test_every_kind_of_picture_is_understood(stub: VisionStub, picture: bytes) -> None:
    """Its boxes are those of the same scene; an animated PNG is its first picture."""
    check(detect(stub, picture).results[0], (640, 480))


@pytest.mark.parametrize(
    "image",
    [scene().convert("L"), scene().convert("LA"), Image.fromarray(np.full((48, 64), 9999, "u2"))],
    ids=["grey", "grey and alpha", "16 bits"],
)
def test_in_a_grey_picture_nothing_is_coloured(stub: VisionStub, image: Image.Image) -> None:
    """A grey picture is answered like any other, without detections."""
    (found,) = detect(stub, encoded(image)).results
    assert (len(found.detections), found.width, found.height) == (0, *image.size)


@pytest.mark.parametrize("resize", HOW)
@pytest.mark.parametrize("size", [(1, 1), (20_000, 10), (10, 20_000)])
def test_extreme_pictures_have_their_boxes(
    stub: VisionStub, size: tuple[int, int], resize: int
) -> None:
    """One pixel, and slivers; a box is the whole picture, or the middle that the model sees."""
    (found,) = detect(stub, encoded(Image.new("RGB", size, RED)), resize=resize).results
    assert (found.width, found.height) == size
    (one,) = found.detections
    assert one.label == "red"
    if resize != pb.RESIZE_CROP:
        assert corners(one) == (0, 0, *size)
    else:
        xmin, ymin, xmax, ymax = corners(one)
        assert (xmin + xmax, ymin + ymax) == pytest.approx(size, rel=1e-4)
        assert (xmax - xmin) / (ymax - ymin) == pytest.approx(64 / 48, rel=1e-2)


def test_a_thing_in_a_sliver_is_where_it_is(stub: VisionStub) -> None:
    """Along its 20 000 pixels the box is right to a pixel of the input."""
    image = Image.new("RGB", (20_000, 10), (90, 90, 90))
    image.paste(RED, (5000, 0, 15_000, 10))
    for resize in (pb.RESIZE_STRETCH, pb.RESIZE_LETTERBOX):
        (found,) = detect(stub, encoded(image), resize=resize).results
        assert corners(found.detections[0]) == pytest.approx((5000, 0, 15_000, 10), abs=20_000 / 64)


def gif() -> bytes:
    buffer = io.BytesIO()
    scene().save(buffer, "GIF", save_all=True, append_images=[scene()])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (b"", "neither JPEG nor PNG"),
        (b"not a picture at all", "neither JPEG nor PNG"),
        (gif(), "neither JPEG nor PNG"),
        (encoded(scene(), "WEBP"), "neither JPEG nor PNG"),
        (encoded(scene(), "JPEG")[:-500], "cannot be decoded: "),
        (encoded(scene(), "PNG")[:-500], "cannot be decoded: "),
        (encoded(scene(), "JPEG")[:100], ""),
        (encoded(scene(), "PNG")[:30], ""),
    ],
)
def test_what_is_no_whole_picture_is_refused(stub: VisionStub, picture: bytes, told: str) -> None:
    """The whole request is refused, and the error names the position of the picture."""
    code, details = refusal(lambda: detect(stub, encoded(scene()), picture))
    assert code == StatusCode.INVALID_ARGUMENT
    assert details.startswith(f"images[1]: {told}")
    assert labels(detect(stub, encoded(scene()))) == ["red", "green", "blue"]
