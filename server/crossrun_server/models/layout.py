"""Triton's layout on disk: finds models, versions and files, and sees whether they have changed.

Names may come from clients, so none of them may lead out of its folder. Loads nothing.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PureWindowsPath

from crossrun_server.errors import LoadError

# Path in its folder, inode, modification time in ns, size in bytes.
Traces = frozenset[tuple[str, int, int, int]]


@dataclass(frozen=True)
class Stamp:
    """What a model's folder held at one moment; equal stamps mean equal files."""

    shared: Traces = frozenset()  # config.pbtxt, labels, warm-up data
    versions: Mapping[int, Traces] = field(default_factory=dict)


def is_model_name(name: str) -> bool:
    """Whether a name can be that of a model's folder, on any system."""
    path = PureWindowsPath(name)  # knows both kinds of slash, and drives
    single = not path.anchor and len(path.parts) == 1 and path.name == name
    return single and not name.startswith(".") and "\0" not in name


def inside(folder: Path, name: str) -> Path:
    """Find a file by its path in a model's folder.

    Raises:
        LoadError: the path is absolute, or leads out of the folder.
    """
    path = PureWindowsPath(name)
    if path.anchor or not path.parts or ".." in path.parts or "\0" in name:
        raise LoadError(f"{name!r} does not name a file in the model's folder")
    return folder / name


def require_inside(folder: Path) -> None:
    """Refuse a model's folder with a link, at any depth, that leads out of the repository.

    Raises:
        LoadError: the message names the link.
    """
    root = os.path.realpath(folder.parent)
    for path in (folder, *_all(folder)):
        # Not `resolve`, which raises for a link to itself.
        if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
            raise LoadError(
                f"{path.relative_to(folder.parent)} is a link that leads out of the repository"
            )


def models(root: Path) -> list[str]:
    """Name the models of a repository.

    Raises:
        LoadError: there is no such folder.
    """
    if not root.is_dir():
        raise LoadError(f"{root} is not a folder; expected a model repository")
    return sorted(folder.name for folder in _visible(root) if folder.is_dir())


def has_model(root: Path, name: str) -> bool:
    """Whether a repository has a folder for a model."""
    try:
        return is_model_name(name) and (root / name).is_dir()
    except OSError:  # a name that the file system does not take
        return False


def versions(folder: Path) -> dict[int, Path]:
    """Find the folders of a model's versions, oldest first."""
    found = {int(f.name): f for f in _visible(folder) if f.name.isdecimal() and f.is_dir()}
    return {v: found[v] for v in sorted(found) if v > 0 and found[v].name == str(v)}


def stamp(folder: Path) -> Stamp:
    """Take the stamp of a model's folder, without reading any file."""
    found = versions(folder)
    others = [path for path in _visible(folder) if path not in found.values()]
    return Stamp(
        frozenset(trace for path in others for trace in _traces(path, folder)),
        {version: frozenset(_traces(path, folder)) for version, path in found.items()},
    )


def _visible(folder: Path) -> Iterator[Path]:
    """List a folder without names that start with a dot, such as an editor's swap files."""
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _all(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _all(path)


def _traces(path: Path, folder: Path) -> Iterator[tuple[str, int, int, int]]:
    try:
        status = path.stat()
        if path.is_dir():
            for child in _visible(path):
                yield from _traces(child, folder)
    except FileNotFoundError:  # it vanished meanwhile
        return
    name = str(path.relative_to(folder))
    yield name, status.st_ino, 0 if path.is_dir() else status.st_mtime_ns, status.st_size
