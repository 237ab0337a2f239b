"""Texts and folders that are kept on disk for the next start, by kind and by model.

Knows nothing of their contents.
"""

import hashlib
import logging
import os
import platform
from pathlib import Path
from tempfile import NamedTemporaryFile

log = logging.getLogger(__name__)

PROCESSOR = Path("/proc/cpuinfo")


def folder(kind: str) -> Path:
    """Return the folder of one kind; it need not exist."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - raises nothing without a home
    return Path(home) / "crossrun" / kind


def read(kind: str, name: str) -> str | None:
    """Read the text with a name; None if there is none that can be read."""
    try:
        return (folder(kind) / name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def write(kind: str, name: str, text: str) -> None:
    """Keep a text under a name; it is written completely, or not at all."""
    file = folder(kind) / name
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as part:
            part.write(text)
        Path(part.name).replace(file)
    except OSError as error:
        log.warning("%s cannot be kept for the next start: %s", file, error)


def beside(model: Path) -> list[tuple[str, int, int]]:
    """Return path, bytes and time of the other files beside a model, which may be its weights."""
    folder = model.parent
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != model)
    traces = [(file.relative_to(folder).as_posix(), file.stat()) for file in files]
    return [(path, found.st_size, found.st_mtime_ns) for path, found in traces]


def key(model: Path | bytes, *circumstances: object) -> str:
    """Return a key for this model in these circumstances.

    Args:
        model: the file, or its bytes.
        circumstances: everything else that matters; two are equal if `str` of them is.
    """
    found = digest(model)
    for circumstance in circumstances:
        found.update(f"\n{circumstance}".encode())
    return found.hexdigest()[:32]


def processor() -> str:
    """Return the name of this machine's processor."""
    try:
        lines = PROCESSOR.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def digest(model: Path | bytes) -> "hashlib._Hash":
    """Return the SHA-256 of a file, or of bytes, to which more may be added.

    Raises:
        OSError: the file cannot be read.
    """
    if isinstance(model, bytes):
        return hashlib.sha256(model)
    with model.open("rb") as file:
        return hashlib.file_digest(file, "sha256")
