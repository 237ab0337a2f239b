"""Pictures of a folder for a report, such as `crossrun-bench detect --save` keeps."""

import io
from pathlib import Path

from crossrun_bench.errors import BenchError
from crossrun_bench.pictures.decoding import loaded
from crossrun_bench.pictures.folders import found
from crossrun_bench.pictures.prepare import ENCODED
from crossrun_bench.view.section import Picture

CAPTION = "Pictures that were kept of what was found in them."
_SIDE = 640  # pixels of the longer side at most


def gallery(folder: Path) -> list[Picture]:
    """All pictures of a folder, at any depth, sorted.

    Raises:
        BenchError: there is none.
    """
    files = found(folder, ENCODED)
    if not files:
        raise BenchError(f"{folder}: no pictures ({', '.join(sorted(ENCODED))})")
    return [(str(file.relative_to(folder)), _small(file)) for file in files]


def _small(file: Path) -> bytes:
    small = loaded(file).convert("RGB")
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
