"""Says what data looks like that is no picture, so that callers find their mistake."""

import base64
from codecs import getincrementaldecoder
from collections.abc import Iterator

PICTURES = {"JPEG": b"\xff\xd8\xff", "PNG": b"\x89PNG\r\n\x1a\n"}  # what is decoded
# How other data begins → what it is.
BEGINNINGS = {
    b"GIF8": "a GIF",
    b"BM": "a BMP",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP file",
    b"\x93NUMPY": "a NumPy file",
    b"\x00\x00\x01\x00": "an icon",
    b"\xff\x0a": "a JPEG XL",
    b"\x00\x00\x00\x0cJXL ": "a JPEG XL",
    b"\x00\x00\x00\x0cjP  ": "a JPEG 2000",
    b"\xff\xd8": "the beginning of a JPEG, cut off",
    b"\x89PN": "the beginning of a PNG, cut off or changed as text",
}
# The brand of an ISO file, at its ninth byte.
BRANDS = {b"avi": "an AVIF", b"hei": "a HEIC", b"hev": "a HEIC", b"mif1": "a HEIC"}
# How text begins, in small letters → what it is.
TEXTS = {
    "data:": "a data URL",
    "http://": "a URL",
    "https://": "a URL",
    "file:": "a URL",
    "<svg": "an SVG",
    "<!doctype html": "an HTML page",
    "<html": "an HTML page",
    "<?xml": "XML",
    "{": "JSON",
    "[": "JSON",
    "b'": "bytes as Python prints them",
    'b"': "bytes as Python prints them",
}
URL_SAFE = str.maketrans("-_", "+/")  # base64's other alphabet
ENDINGS = (".jpg", ".jpeg", ".png")  # of files' names
LOOK = 4096  # bytes that are looked at
LONGEST_PATH = 1024  # characters


def told(data: bytes) -> str:
    """Return what data looks like and what was expected instead; empty if it looks like nothing."""
    if not data:
        return "it is empty"
    found = next(_guesses(data[:LOOK]), "")
    return f"it looks like {found}; expected the bytes of the JPEG or PNG itself" if found else ""


def _guesses(data: bytes) -> Iterator[str]:
    if data.startswith(b"\x1f\x8b"):
        yield "gzip"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        yield "a WebP"
    if data[4:8] == b"ftyp":
        brand = data[8:12]
        yield next((name for start, name in BRANDS.items() if brand.startswith(start)), "a video")
    yield from (name for start, name in BEGINNINGS.items() if data.startswith(start))
    try:  # the last character may be cut off
        yield from _texts(getincrementaldecoder("utf-8-sig")().decode(data).strip())
    except UnicodeDecodeError:
        return


def _texts(text: str) -> Iterator[str]:
    small = text.lower()
    if small.startswith("<?xml") and "<svg" in small:
        yield "an SVG"
    yield from (name for start, name in TEXTS.items() if small.startswith(start))
    if len(text) <= LONGEST_PATH and small.endswith(ENDINGS):
        yield "the name of a file"
    for name, start in PICTURES.items():
        if _from_base64(text).startswith(start):
            yield f"base64 text of a {name}"
        if small.startswith(start.hex()):
            yield f"hexadecimal text of a {name}"
    if text and all(one.isprintable() or one.isspace() for one in text):
        yield "text"


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text[:24].split())[:16].translate(URL_SAFE), validate=True)
    except ValueError:
        return b""
