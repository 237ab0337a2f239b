"""Label files: one label a line, as many as there are classes. Knows no model and no picture."""

import codecs
from collections.abc import Iterator, Sequence
from pathlib import Path

from crossrun_export.errors import ExportError

OTHER_TEXT = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # those of UTF-32 begin or end like these


def read(path: Path) -> tuple[str, ...]:
    r"""Read labels: UTF-8, with a byte order mark or without; \n or \r\n ends a line, nothing else.

    Raises:
        ExportError: there is no such file, it is no UTF-8, or it holds no label.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ExportError(f"{path} cannot be read: {error.strerror}") from error
    return parse(data, path)


def parse(data: bytes, where: object) -> tuple[str, ...]:
    """The labels in what a file holds.

    Raises:
        ExportError: as in `read`; `where` names the file.
    """
    try:
        labels = split(_text(data))
    except ValueError as error:
        raise ExportError(f"{where} is no UTF-8 text: {error}") from error
    if not labels:
        raise ExportError(f"{where} holds no label; expected one a line")
    return labels


def split(text: str) -> tuple[str, ...]:
    """The lines of a text; the end of the last one begins no other."""
    lines = text.replace("\r\n", "\n").removesuffix("\n")
    return tuple(lines.split("\n")) if text else ()


def joined(labels: Sequence[str]) -> str:
    """The text of a label file.

    Raises:
        ExportError: a label would be read again as two, or as another.
    """
    text = "".join(f"{label}\n" for label in labels)
    if split(text.removeprefix("\ufeff")) != tuple(labels):
        odd = next((one for one in labels if "\n" in one or one.endswith("\r")), labels[0])
        raise ExportError(f"the label {odd!r} is no line of text")
    return text


def check(labels: Sequence[str], classes: int) -> None:
    """Hold the number of labels against that of the classes.

    Raises:
        ExportError: they are more or fewer.
    """
    if len(labels) != classes:
        hints = "".join(_hints(labels, classes))
        raise ExportError(f"{len(labels)} labels for a model of {classes} classes{hints}")


def _hints(labels: Sequence[str], classes: int) -> Iterator[str]:
    """Say what is often wrong with a list that is one too long."""
    if len(labels) == classes + 1 and labels[0].strip().lower() in {"background", "dummy"}:
        yield f"; the first, {labels[0]!r}, belongs to a model with one class more: remove it"
    elif len(labels) > classes and not labels[-1].strip():
        yield "; the last line is empty"


def _text(data: bytes) -> str:
    """Raises ValueError, which says what it is."""
    if data.startswith(OTHER_TEXT) or b"\0" in data:
        raise ValueError("it looks like UTF-16; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} holds the byte 0x{data[error.start]:02x}") from error
