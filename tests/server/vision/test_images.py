"""Metadata of pictures: whatever is wrong with it, the picture is decoded as Keras does it."""

import io
import random
import struct
import zlib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from crossrun_bench.errors import BenchError
from crossrun_bench.pictures import decoding
from crossrun_client.pictures import upright
from crossrun_export.errors import ExportError
from crossrun_server.errors import InvalidRequest
from crossrun_server.vision import images
from crossrun_server.vision.boxes import Size
from tests.support import models
from tests.support.pictures import ORIENTATION, encoded
from tests.support.running import serving
from tests.support.vision import classify

if TYPE_CHECKING:
    from crossrun_export.sources import Source

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, which the server mutes

EXIF, XMP, MPF = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"MPF\0"
RAW = b"Raw profile type exif\0"
TURNED = b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
APP1, APP2 = 0xE1, 0xE2


def photo() -> Image.Image:
    colours = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((40, 30))


JPEG, PNG = encoded(photo(), "JPEG"), encoded(photo())


def segment(payload: bytes, marker: int = APP1, jpeg: bytes = JPEG) -> bytes:
    """A JPEG with one more segment in front."""
    head = b"\xff" + bytes([marker]) + struct.pack(">H", len(payload) + 2)
    return jpeg[:2] + head + payload + jpeg[2:]


def chunk(kind: bytes, data: bytes, at: int = 33) -> bytes:
    """A PNG with one more chunk, after its header, or before its end, -12."""
    checked = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    )
    return PNG[:at] + checked + PNG[at:]


def tiff(kind: int, count: int, value: bytes) -> bytes:
    """EXIF that holds an orientation alone: its type, number of values, and four bytes of them."""
    entry = struct.pack("<HHHI4s", 1, ORIENTATION, kind, count, value)
    return b"II*\0\x08\0\0\0" + entry + bytes(4)


SIDEWAYS = tiff(3, 1, b"\6\0\0\0")
DAMAGED = {
    "only the header": segment(EXIF),
    "garbage": segment(EXIF + b"\0\x08\0\x02garbage"),
    "garbage, no density": segment(EXIF + b"\0\x08\0\x02garbage", jpeg=JPEG[:2] + JPEG[20:]),
    "cut after 9 bytes": segment(EXIF + SIDEWAYS[:9]),
    "cut in the entry": segment(EXIF + SIDEWAYS[:15]),
    "offset far out": segment(EXIF + b"II*\0\xff\xff\xff\x7f"),
    "orientation 0": segment(EXIF + tiff(3, 1, bytes(4))),
    "orientation 9": segment(EXIF + tiff(3, 1, b"\x09\0\0\0")),
    "orientation as text": segment(EXIF + tiff(2, 4, b"abc\0")),
    "orientation as bytes": segment(EXIF + tiff(7, 4, b"\6\0\0\0")),
    "orientation as a rational": segment(EXIF + tiff(5, 1, b"\xff\xff\0\0")),
    "no orientations": segment(EXIF + tiff(3, 0, bytes(4))),
    "many orientations": segment(EXIF + tiff(3, 0xFFFFFFFF, b"\x08\0\0\0")),
    "unknown type": segment(EXIF + tiff(99, 1, b"\6\0\0\0")),
    "XMP garbage": segment(XMP + b"<x:xmpmeta \xff\xfe tiff"),
    "MPF garbage": segment(MPF + b"\1" * 20, APP2),
    "ICC garbage": segment(b"ICC_PROFILE\0\x07\x01", APP2),
    "PNG empty eXIf": chunk(b"eXIf", b""),
    "PNG garbage eXIf": chunk(b"eXIf", b"\0\x08\0\x02garbage"),
    "PNG garbage at its end": chunk(b"eXIf", b"\0\x08\0\x02garbage", -12),
    "PNG raw profile, odd": chunk(b"tEXt", RAW + b"\nexif\n 6\nzz"),
    "PNG raw profile, compressed": chunk(b"zTXt", RAW + b"\0" + zlib.compress(b"\n\n\n0")),
    "PNG text called exif": chunk(b"zTXt", b"exif\0\0" + zlib.compress(b"II*")),
    "PNG international text called exif": chunk(b"iTXt", b"exif\0\0\0\0\0II*"),
    "PNG text called xmp": chunk(b"tEXt", b"xmp\0" + TURNED),
    "PNG ICC garbage": chunk(b"iCCP", b"icc\0\0garbage"),
}
TURNING = {
    "two shorts": (segment(EXIF + tiff(3, 2, b"\6\0\6\0")), 6),
    "a long": (segment(EXIF + tiff(4, 1, b"\6\0\0\0")), 6),
    "header twice": (segment(EXIF + EXIF + SIDEWAYS), 6),
    "no end": (segment(EXIF + SIDEWAYS[:-4]), 6),
    "XMP": (segment(XMP + TURNED), 8),
    "PNG with JPEG's header": (chunk(b"eXIf", EXIF + SIDEWAYS), 6),
    "PNG at its end": (chunk(b"eXIf", SIDEWAYS, -12), 6),
    "PNG XMP": (chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + TURNED), 8),
    "PNG raw profile": (chunk(b"tEXt", RAW + b"\nexif\n 26\n" + SIDEWAYS.hex().encode()), 6),
}


def as_keras(data: bytes) -> Image.Image:
    """As keras.utils.load_img does it, which knows nothing of orientations."""
    return Image.open(io.BytesIO(data)).convert("RGB")


def ours(data: bytes) -> NDArray[np.uint8]:
    """The picture at its own size, upright."""
    return images.load(data, lambda upright: upright, "stretch").pixels


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_metadata_says_nothing(case: str) -> None:
    """The picture is decoded as it lies in its file."""
    assert np.array_equal(ours(DAMAGED[case]), np.asarray(as_keras(DAMAGED[case])))


@pytest.mark.parametrize("data", [*DAMAGED.values(), *(data for data, _ in TURNING.values())])
def test_the_bench_sees_the_same_picture(data: bytes, tmp_path: Path) -> None:
    """What is measured and shown is what the server sees."""
    file = tmp_path / "picture"
    file.write_bytes(data)
    assert np.array_equal(np.asarray(upright(decoding.loaded(file))), ours(data))


@pytest.mark.parametrize("case", TURNING)
def test_metadata_that_can_be_read_is_followed(case: str) -> None:
    """Odd as it is written, the orientation that Pillow finds in it is applied."""
    data, orientation = TURNING[case]
    upright = as_keras(data).transpose(images.UPRIGHT[orientation])
    assert np.array_equal(ours(data), np.asarray(upright))


def mutations(count: int) -> Iterator[tuple[str, bytes]]:
    """Pictures with some bytes of their metadata replaced, and its checksum set right."""
    draw = random.Random(7)
    maker = Image.Exif()
    for tag, value in ((ORIENTATION, 6), (0x010F, "maker"), (0x011A, 72.0)):
        maker[tag] = value
    exif, raw = maker.tobytes(), maker.tobytes().hex().encode()
    for name, kind, payload in (
        ("EXIF", b"", exif), ("XMP", b"", XMP + TURNED), ("ICC", b"", b"ICC_PROFILE\0\1\1" + exif),
        ("PNG", b"eXIf", exif[6:]), ("PNG", b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + TURNED),
        ("PNG", b"tEXt", RAW + b"\nexif\n 99\n" + raw), ("PNG", b"zTXt", RAW + b"\0" + exif),
        ("PNG", b"iCCP", b"icc\0\0" + zlib.compress(exif)), ("PNG", b"pHYs", bytes(9)),
    ):  # fmt: skip
        for turn in range(count):
            spoilt = bytearray(payload)
            for _ in range(draw.choice((1, 2, 5, 20))):
                value = draw.choice((0, 1, 2, 6, 0x12, 0x7F, 0xFF, draw.randrange(256)))
                spoilt[draw.randrange(len(spoilt))] = value
            marker = APP2 if name == "ICC" else APP1
            made = chunk(kind, bytes(spoilt)) if kind else segment(bytes(spoilt), marker)
            yield f"{name} {kind.decode()} {turn}", made


def test_whatever_keras_decodes_is_decoded() -> None:
    """Of metadata spoilt at random: the same pixels as Keras, upright or not, or both refuse."""
    turns = images.UPRIGHT.values()
    decoded = 0
    for name, data in mutations(60):
        try:
            picture = as_keras(data)
        except Exception:  # noqa: BLE001 - Pillow raises of all kinds
            with pytest.raises(InvalidRequest, match="cannot be decoded"):
                ours(data)
            continue
        decoded += 1
        possible = [picture, *(picture.transpose(turn) for turn in turns)]
        assert any(np.array_equal(ours(data), np.asarray(one)) for one in possible), name
    assert decoded > 400


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (JPEG[:-40], "cannot be decoded: image file is truncated"),
        (PNG[:-60], "cannot be decoded: image file is truncated"),
        (
            JPEG.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
            "it begins as a JPEG, but its header is damaged",
        ),
        (PNG[:29] + b"1234" + PNG[33:], "it begins as a PNG, but its header is damaged"),
        (chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 22))), "Decompressed data too large"),
        (chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(1 << 22)), -12), "Decompressed data too"),
        (chunk(b"tEXt", b"bbox\0" + b"1"), "cannot be decoded: "),
    ],
)
def test_a_damaged_picture_is_refused(data: bytes, told: str) -> None:
    """A picture that Keras cannot decode either is refused with the reason."""
    with pytest.raises(Exception):  # noqa: B017, PT011 - Pillow raises of all kinds
        as_keras(data)
    with pytest.raises(InvalidRequest, match=told):
        ours(data)


def test_the_bench_and_the_export_name_a_damaged_picture(small: "Source", tmp_path: Path) -> None:
    """Whatever Pillow raises, the bench and the export raise their own error, with the file."""
    file = tmp_path / "spoilt.png"
    file.write_bytes(chunk(b"tEXt", b"bbox\0" + b"1"))
    with pytest.raises(BenchError, match=r"spoilt\.png: not a readable JPEG or PNG picture"):
        decoding.loaded(file)
    pictures = import_module("crossrun_export.pictures")  # takes seconds: TensorFlow
    with pytest.raises(ExportError, match=r"spoilt\.png is a damaged picture"):
        pictures.for_measuring(small, tmp_path, 1)


def test_every_kind_of_pixel_is_as_keras_has_it() -> None:
    """Whatever a PNG or JPEG holds, but for 16-bit grey, which Keras cuts off at 255."""
    alpha = photo().convert("RGBA")
    alpha.putalpha(photo().convert("L"))
    palette = photo().quantize(16)
    for data in (
        encoded(photo().convert("1")),
        encoded(photo().convert("LA")),
        encoded(alpha),
        encoded(palette, transparency=3),
        encoded(palette, transparency=bytes(range(0, 160, 10))),
        encoded(photo(), transparency=(1, 2, 3)),
        encoded(photo().convert("CMYK"), "JPEG"),
        encoded(photo(), "JPEG", progressive=True),
        encoded(photo(), "PNG", save_all=True, append_images=[photo().rotate(90)]),
        encoded(photo(), "MPO", save_all=True, append_images=[photo().rotate(90)]),
        encoded(photo().resize((1, 5000))),
        JPEG + b"more",
        PNG[:-12],
    ):
        assert np.array_equal(ours(data), np.asarray(as_keras(data)))
    grey = np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50
    found = ours(encoded(Image.fromarray(grey)))
    assert np.array_equal(found, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, axis=2))


def test_a_small_input_gets_the_whole_of_a_jpeg_that_is_decoded_smaller() -> None:
    """Where no eighth of its width is whole, too: nothing is lost at its right edge."""
    image = Image.new("RGB", (25, 25), (255, 0, 0))
    image.paste((0, 0, 255), (13, 0, 25, 25))
    (pixel,) = images.load(encoded(image, "JPEG"), Size(1, 1), "stretch").pixels[0]
    assert pixel.tolist() == pytest.approx([127, 0, 127], abs=15)


def test_the_server_classifies_them_and_logs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a real connection, with Pillow's warnings made errors: an answer, and a clean log."""
    root = tmp_path / "models"
    models.write(root, "colours", models.colours(), models.COLOURS_CONFIG, labels=["r", "g", "b"])
    pictures = [*DAMAGED.values(), *(data for data, _ in TURNING.values())]
    monkeypatch.setenv("PYTHONWARNINGS", "error::UserWarning")
    with (
        serving(root, tmp_path / "log") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        reply = classify(channel, *pictures, top_k=1)
    assert len(reply.results) == len(pictures)
    assert "arning" not in server.log.read_text()
