"""The files that git keeps, read as text."""

import lzma
import subprocess
from pathlib import Path

from tests.support.running import ROOT


def tracked(*patterns: str) -> list[Path]:
    """The project's files, or those that match one of git's patterns; none outside a checkout."""
    if not (ROOT / ".git").exists():
        return []
    listed = subprocess.run(
        ["git", "ls-files", "-z", *patterns], cwd=ROOT, check=True, capture_output=True
    )
    found = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return [path for path in found if path.is_file()]


def text_of(path: Path) -> str:
    """What is written in a file; nothing if it is a picture or weights."""
    data = path.read_bytes()
    try:
        return (lzma.decompress(data) if path.suffix == ".xz" else data).decode()
    except UnicodeDecodeError:
        return ""
