"""Pictures to measure with, each as pixels and as an encoded file. Knows no codec and no model."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Batch:
    """Pictures twice: as `pixels` uint8 RGB [batch, H, W, 3], and as JPEG or PNG bytes."""

    pixels: Pixels
    encoded: tuple[bytes, ...]


@dataclass(frozen=True)
class Pictures:
    """Pictures on disk: one .npy of pixels uint8 [count, H, W, 3], and a file for each picture."""

    pixels: str
    files: tuple[str, ...]

    def batch(self, start: int, count: int) -> Batch:
        """Up to `count` pictures from `start`, in memory."""
        stored = np.load(self.pixels, mmap_mode="r")
        return Batch(
            pixels=np.ascontiguousarray(stored[start : start + count]),
            encoded=tuple(Path(f).read_bytes() for f in self.files[start : start + count]),
        )
