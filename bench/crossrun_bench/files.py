"""Files written as a whole and read as text. Knows nothing of what is in them."""

import lzma
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossrun_bench.errors import BenchError


def write_text(path: Path, text: str) -> None:
    """Write a text as a whole.

    Raises:
        BenchError: it cannot be written.
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file as a whole.

    Raises:
        BenchError: it cannot be written.
    """
    with whole(path) as aside:
        aside.write_bytes(data)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write beside `path`; it is renamed on leaving, so that readers see it whole.

    Raises:
        BenchError: it cannot be written.
    """
    aside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        aside.replace(path)
    except OSError as error:
        raise BenchError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        aside.unlink(missing_ok=True)


def read_text(path: Path) -> str:
    """The text of a file, which is unpacked if its name ends in .xz.

    Raises:
        BenchError: it cannot be read, or is damaged.
    """
    try:
        data = path.read_bytes()
        return (lzma.decompress(data) if path.suffix == ".xz" else data).decode()
    except lzma.LZMAError as error:
        raise BenchError(f"{path}: damaged: {error}") from error
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror}") from error
