"""What callers send instead of a picture, and what they are told of it."""

import base64
import gzip
import io
import zipfile

import grpc
import numpy as np
import pytest
from grpc import StatusCode
from PIL import Image

from tests.support.pictures import encoded, halves, plain
from tests.support.requests import refusal
from tests.support.vision import classify

JPEG, PNG = plain(1, 2, 3, "JPEG"), plain(1, 2, 3)


def saved(form: str) -> bytes:
    file = io.BytesIO()
    halves().save(file, form)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("photo.jpg", JPEG)
    return file.getvalue()


def as_numpy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


SENT = {
    "a GIF": saved("GIF"),
    "a BMP": encoded(halves(), "BMP"),
    "a TIFF": saved("TIFF"),
    "a WebP": b"RIFF\x24\0\0\0WEBPVP8 ",
    "an AVIF": b"\0\0\0\x20ftypavif\0\0\0\0",
    "a HEIC": b"\0\0\0\x18ftypheic\0\0\0\0",
    "a video": b"\0\0\0\x18ftypisom\0\0\0\0",
    "a JPEG XL": b"\xff\x0a\xfa\x1f",
    "a PDF": b"%PDF-1.7\n%\xe2\xe3",
    "gzip": gzip.compress(JPEG),
    "a ZIP file": zipped(),
    "a NumPy file": as_numpy(),
    "a data URL": b"data:image/jpeg;base64," + base64.b64encode(JPEG),
    "base64 text of a JPEG": base64.b64encode(JPEG),
    "base64 text of a PNG": base64.encodebytes(PNG),
    "a URL": b"https://example.org/photo.jpg",
    "the name of a file": b"photos/beach.JPG\n",
    "an SVG": b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>",
    "an HTML page": b"<!DOCTYPE html><title>404</title>",
    "JSON": b'{"image": "photo"}',
    "bytes as Python prints them": repr(JPEG).encode(),
    "text": b"no picture at all",
    "hexadecimal text of a PNG": PNG.hex().encode(),
    "the beginning of a JPEG, cut off": JPEG[:2],
}


@pytest.mark.parametrize("what", SENT)
def test_what_was_sent_instead_of_a_picture_is_named(channel: grpc.Channel, what: str) -> None:
    """The message says what it looks like, and what was expected."""
    code, details = refusal(lambda: classify(channel, PNG, SENT[what]))
    told = f"it looks like {what}; expected the bytes of the JPEG or PNG itself"
    assert (code, details) == (
        StatusCode.INVALID_ARGUMENT,
        f"images[1]: neither JPEG nor PNG: {told}",
    )


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (base64.urlsafe_b64encode(JPEG), "base64 text of a JPEG"),
        ("# Schöne Grüße\n".encode() * 300, "text"),  # whose last character is cut off
        ("\ufeffkein Bild".encode(), "text"),
    ],
)
def test_texts_of_other_alphabets_are_named_too(
    channel: grpc.Channel, data: bytes, what: str
) -> None:
    """Base64 for URLs, and text beyond ASCII."""
    _, details = refusal(lambda: classify(channel, PNG, data))
    assert f"it looks like {what}; " in details


def test_a_picture_in_disguise_is_still_one(channel: grpc.Channel) -> None:
    """Only what cannot be decoded is looked at."""
    picture = encoded(Image.new("RGB", (9, 9)), "JPEG") + b"<html>"
    assert classify(channel, picture).results


def test_what_looks_like_nothing_is_called_nothing(channel: grpc.Channel) -> None:
    """There are no guesses then."""
    for data in (bytes(range(64)), b"\xfe" * 9):
        details = refusal(lambda data=data: classify(channel, data))[1]
        assert details == "images[0]: neither JPEG nor PNG"
