"""Finds the files of a folder, without those that a notebook or a Mac hides in it."""

from collections.abc import Collection, Iterator
from pathlib import Path

from crossrun_bench.errors import BenchError
from crossrun_bench.progress import say

# Pictures that the server does not take.
_OTHERS = {".avif", ".bmp", ".gif", ".heic", ".jfif", ".jpe", ".tif", ".tiff", ".webp"}
# A Mac puts ._NAME into an archive beside each file; it is not a picture.
_ARCHIVED = "__MACOSX"


def found(place: Path, endings: Collection[str]) -> list[Path]:
    """The files with such endings in a folder, at any depth, sorted; or the file `place` itself.

    Files whose name or folder begins with a dot are passed over, and so are pictures with other
    endings; a line on stderr says how many. Links are followed.

    Raises:
        BenchError: there is no such file or folder, or something in it cannot be read.
    """
    if not place.exists():
        raise BenchError(f"{place}: no such file or folder")
    try:
        inside = sorted(_below(place)) if place.is_dir() else [place]
    except OSError as error:
        raise BenchError(f"{error.filename}: cannot be read: {error.strerror}") from error
    below = [file for file in inside if not file.is_dir()]
    shown = [file for file in below if not hidden(file.relative_to(place))]
    files = [file for file in shown if file.suffix.lower() in endings]
    count = sum(file.suffix.lower() in endings for file in below) - len(files)
    _passed_over(count, "hidden", f"in {place}")
    others = [f.name for f in shown if f.suffix.lower() in _OTHERS.difference(endings)]
    _passed_over(len(others), "unsupported", f"in {place}, as {', '.join(others[:1])}")
    return files


def _below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """All that a folder holds at any depth. Links are followed, but never in a circle."""
    here = folder.resolve()
    if here in above:
        return
    for path in folder.iterdir():
        yield path
        if path.is_dir():
            yield from _below(path, above | {here})


def _passed_over(count: int, kind: str, where: str) -> None:
    if count:
        say(f"passed over {count} {kind} file{'s' * (count > 1)} {where}")


def hidden(inside: Path) -> bool:
    """Whether a part of a path begins with a dot, or a Mac's archiver made it."""
    return any(part.startswith(".") or part == _ARCHIVED for part in inside.parts)
