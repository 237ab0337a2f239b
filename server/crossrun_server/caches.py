"""What was found or built once and is kept on disk for the next start: where, and for which model.

Knows nothing of what is kept.
"""

import hashlib
import os
from pathlib import Path


def folder(kind: str) -> Path:
    """The folder of one kind of things to keep; it need not exist."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - raises nothing without a home
    return Path(home) / "crossrun" / kind


def key(model: Path | bytes, *circumstances: object) -> str:
    """Name what holds for this model in these circumstances only.

    Args:
        model: the file, or its bytes.
        circumstances: whatever else it depends on, by what `str` gives.
    """
    digest = _digest(model)
    for one in circumstances:
        digest.update(f"\n{one}".encode())
    return digest.hexdigest()[:32]


def _digest(model: Path | bytes) -> "hashlib._Hash":
    if isinstance(model, bytes):
        return hashlib.sha256(model)
    with model.open("rb") as file:
        return hashlib.file_digest(file, "sha256")
