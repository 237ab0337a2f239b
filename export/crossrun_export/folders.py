"""Which picture files a folder holds, without those that a notebook or a Mac hides in it."""

from dataclasses import dataclass
from pathlib import Path

from crossrun_export.errors import ExportError

ENCODED = (".jpg", ".jpeg", ".png")
# What a Mac puts into an archive beside the files: ._NAME, which is no picture.
ARCHIVED = "__MACOSX"


@dataclass(frozen=True)
class Listed:
    """The pictures of a folder and those below it, sorted."""

    files: tuple[Path, ...]
    notes: tuple[str, ...]  # what was passed over, as sentences


def listed(folder: Path) -> Listed:
    """Find all pictures of a folder but the hidden ones, whose name or folder begins with a dot.

    The folder itself may be hidden, or lie in one that is.

    Raises:
        ExportError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        raise ExportError(f"{folder} is no folder; expected one of pictures")
    ending = (file for file in folder.rglob("*") if file.suffix.lower() in ENCODED)
    found = sorted(file for file in ending if file.is_file())
    files = tuple(file for file in found if not _is_hidden(file.relative_to(folder)))
    hidden = len(found) - len(files)
    notes = (f"passed over {hidden} hidden file{'s' * (hidden > 1)} in {folder}",) * (hidden > 0)
    if not files:
        more = "".join(f"; {note}" for note in notes)
        raise ExportError(f"{folder} holds no picture ({', '.join(ENCODED)}){more}")
    return Listed(files, notes)


def _is_hidden(inside: Path) -> bool:
    return any(part.startswith(".") or part == ARCHIVED for part in inside.parts)
