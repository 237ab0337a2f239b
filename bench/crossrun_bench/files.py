"""Files written as a whole and read as text. Knows nothing of what is in them."""

import lzma
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crossrun_bench.errors import BenchError


def write_text(path: Path, text: str) -> None:
    """Write a text as a whole; BenchError where that fails."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file as a whole; BenchError where that fails."""
    with whole(path) as aside:
        aside.write_bytes(data)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file to write aside, then renamed: a reader sees a whole file or none.

    BenchError where it cannot be written.
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
    """What a file says, one that ends in .xz once it is unpacked; BenchError where none does."""
    try:
        data = path.read_bytes()
        return (lzma.decompress(data) if path.suffix == ".xz" else data).decode()
    except lzma.LZMAError as error:
        raise BenchError(f"{path}: damaged: {error}") from error
    except OSError as error:
        raise BenchError(f"{path}: cannot be read: {error.strerror}") from error
