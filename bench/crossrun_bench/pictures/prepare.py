"""Prepares pictures to measure with: draws them, or finds and decodes them as Keras does."""

import base64
import io
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from crossrun_bench.errors import BenchError
from crossrun_bench.pictures.decoding import loaded, upright
from crossrun_bench.pictures.folders import found
from crossrun_bench.pictures.pictures import Pictures
from crossrun_bench.progress import Step

ENCODED = {".jpg", ".jpeg", ".png"}


def drawn(folder: Path, count: int, height: int, width: int) -> Pictures:
    """Draw `count` colour clouds, always the same, as JPEG files about as large as photographs."""
    rng = np.random.default_rng(20)
    files = [folder / f"{i:03}.jpg" for i in range(count)]
    for file in files:
        cloud = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        smooth = Image.fromarray(cloud).resize((width, height), Image.Resampling.BICUBIC)
        grain = rng.normal(0, 8, (height, width, 1))
        noisy = np.clip(np.asarray(smooth) + grain, 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(file, quality=90)
    return decoded(files, folder / "pixels.npy", (height, width))


def decoded(
    files: Sequence[Path],
    pixels: Path,
    size: tuple[int, int],
    step: Step | None = None,
    fit: Callable[[Image.Image], Image.Image] | None = None,
) -> Pictures:
    """Decode and stretches each file as `keras.utils.load_img(interpolation="bilinear")` does.

    `size` is height and width; with `fit`, pictures are resized by `fit` instead.

    Raises:
        BenchError: Pillow cannot read a file.
    """
    shape = (len(files), *size, 3)
    stored = np.lib.format.open_memmap(pixels, mode="w+", dtype=np.uint8, shape=shape)
    for i, file in enumerate(files):
        stored[i] = np.asarray((fit or partial(_stretched, size=size[::-1]))(loaded(file)))
        if step:
            step("decoding pictures")
    stored.flush()
    return Pictures(str(pixels), tuple(str(f) for f in files))


def _stretched(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image.convert("RGB").resize(size, Image.Resampling.BILINEAR)


def thumbnail(file: Path, side: int = 96) -> str:
    """The picture as JPEG in base64, at most `side` pixels wide and high: 2 to 4 KB for 96."""
    small = upright(loaded(file))
    small.thumbnail((side, side))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return base64.b64encode(buffer.getvalue()).decode()


def listed(folders: Sequence[Path]) -> tuple[Path, ...]:
    """All JPEG and PNG files in files and folders, sorted within each folder, at any depth.

    Raises:
        BenchError: there is none.
    """
    files = [file for place in folders for file in found(place, ENCODED)]
    if not files:
        raise BenchError(f"{', '.join(map(str, folders))}: no JPEG or PNG pictures")
    return tuple(files)
