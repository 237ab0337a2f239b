"""Which picture files a folder holds, without those that a notebook or a Mac hides in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from crossrun_export.errors import ExportError

ENCODED = (".jpg", ".jpeg", ".png")
# Pictures too, which the server does not take.
OTHERS = (".avif", ".bmp", ".gif", ".heic", ".jfif", ".jpe", ".tif", ".tiff", ".webp")
# What a Mac puts into an archive beside the files: ._NAME, which is no picture.
ARCHIVED = "__MACOSX"


@dataclass(frozen=True)
class Listed:
    """The pictures of a folder and those below it, sorted."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]  # what was passed over, as sentences


def listed(folder: Path) -> Listed:
    """Find all pictures of a folder but the hidden ones, whose name or folder begins with a dot.

    The folder itself may be hidden, or lie in one that is. A link is what it leads to; where that
    is not there, the file is listed, and cannot be read.

    Raises:
        ExportError: there is no such folder, or no picture in it.
        OSError: a folder in it cannot be read.
    """
    if not folder.is_dir():
        raise ExportError(f"{folder} is no folder; expected one of pictures")
    below = sorted(file for file in _below(folder) if not file.is_dir())
    shown = [file for file in below if not _is_hidden(file.relative_to(folder))]
    files = tuple(file for file in shown if file.suffix.lower() in ENCODED)
    hidden = sum(file.suffix.lower() in ENCODED for file in below) - len(files)
    others = [file.name for file in shown if file.suffix.lower() in OTHERS]
    notes = (
        *_passed_over(hidden, "hidden", f"in {folder}"),
        *_passed_over(len(others), "unsupported", f"in {folder}, as {', '.join(others[:1])}"),
    )
    if not files:
        more = "".join(f"; {note}" for note in notes)
        raise ExportError(f"{folder} holds no picture ({', '.join(ENCODED)}){more}")
    return Listed(files, notes)


def _below(folder: Path, above: frozenset[Path] = frozenset()) -> Iterator[Path]:
    """All that a folder holds at any depth, in linked folders too, but not around in a circle."""
    here = folder.resolve()
    if here in above:
        return
    for path in folder.iterdir():
        yield path
        if path.is_dir():
            yield from _below(path, above | {here})


def _passed_over(count: int, kind: str, where: str) -> Iterator[str]:
    if count:
        yield f"passed over {count} {kind} file{'s' * (count > 1)} {where}"


def _is_hidden(inside: Path) -> bool:
    return any(part.startswith(".") or part == ARCHIVED for part in inside.parts)
