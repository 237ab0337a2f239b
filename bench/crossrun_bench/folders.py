"""Which files a folder holds, without those that a notebook or a Mac hides in it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from crossrun_bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

# What a Mac puts into an archive beside the files: ._NAME, which is no picture.
_ARCHIVED = "__MACOSX"


def found(place: Path, endings: Collection[str]) -> list[Path]:
    """A file that was named; of a folder all with such endings, sorted, at any depth.

    Those in it whose name or folder begins with a dot are passed over, counted and told. BenchError
    where there is no such file or folder.
    """
    if not place.exists():
        raise BenchError(f"{place}: no such file or folder")
    inside = sorted(place.rglob("*")) if place.is_dir() else [place]
    files = [file for file in inside if file.suffix.lower() in endings and file.is_file()]
    shown = [file for file in files if not hidden(file.relative_to(place))]
    if count := len(files) - len(shown):
        say(f"passed over {count} hidden file{'s' * (count > 1)} in {place}")
    return shown


def hidden(inside: Path) -> bool:
    """Whether a path begins with a dot somewhere below its folder, or a Mac's archiver put it."""
    return any(part.startswith(".") or part == _ARCHIVED for part in inside.parts)


def say(text: str) -> None:
    """A line on stderr."""
    print(f"crossrun-bench: {text}", file=sys.stderr)  # noqa: T201 - the command's own output
