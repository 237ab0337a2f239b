"""Pictures to measure a model on, and others to calibrate it on: drawn, or found in folders.

What a model is calibrated on is never measured on, file by file, whatever folders were named.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from crossrun_export import folder_classes, scenes
from crossrun_export.backend import keras
from crossrun_export.errors import ExportError
from crossrun_export.folder_classes import Shown
from crossrun_export.folders import Listed, listed
from crossrun_export.runtime import BATCH
from crossrun_export.sources import Source

Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]

MEASURING_SEED, CALIBRATION_SEED = 2024, 2023  # neither is one that training uses
# One more than whole batches: a batch of any size has to work.
FEW, MANY = 4 * BATCH + 1, 32 * BATCH + 1
# From 32 pictures on, more did not bring int8 nearer to the original.
LEAST, MOST = 32, 64
SHARE = 4  # of pictures that could be used for both, one in so many calibrates
CROP = 0.875  # of the shorter side: 224 of 256, the habit of ImageNet evaluation
PLENTY = 2000  # pictures; with so many, one view of each says enough


@dataclass(frozen=True)
class Pictures:
    """Some pictures at the size of a model: stretched to it, and their middle cut out."""

    stretched: Pixels  # uint8 [count, height, width, 3]
    cropped: Pixels  # likewise
    names: tuple[str, ...]
    hashes: tuple[str, ...]  # 16 hexadecimal digits of each file's SHA-256; none where drawn
    labels: NDArray[np.int64] | None  # positions in the model's output; None where unknown
    unlabelled: str | None = None  # why they are unknown, as part of a sentence
    notes: tuple[str, ...] = ()  # what was passed over, as sentences

    def views(self) -> Iterator[Pixels]:
        """Give all pictures stretched; where they are few also cropped, and both mirrored.

        A few pictures say little of a small change: of 150, one is 0.67 points.
        """
        yield self.stretched
        if len(self.names) < PLENTY:
            yield from (self.cropped, self.stretched[:, :, ::-1], self.cropped[:, :, ::-1])


def drawn(source: Source, seed: int, count: int) -> Pictures:
    """Draw scenes."""
    size = max(source.size)
    drawings, classes = scenes.batch(seed, 0, count, size)
    images = (Image.fromarray(drawing) for drawing in drawings)
    names = tuple(f"drawn picture {place}" for place in range(count))
    known = Shown(classes, None)
    if source.labels != scenes.CLASSES:
        known = Shown(None, "drawn pictures show none of the model's classes")
    return _sized(images, source, names, (), known)


def load(source: Source, folder: Path, files: Sequence[Path]) -> Pictures:
    """Read pictures of a folder; their own folders' names say what they show.

    Raises:
        ExportError: one cannot be read, or the folders' names contradict each other.
    """
    known = folder_classes.shown(folder, files, source)
    return _read_all(source, folder, files, known)


def for_measuring(
    source: Source, folder: Path | None, count: int, *, skip_unknown: bool = False
) -> Pictures:
    """All pictures of a folder, or so many drawn ones.

    Args:
        source: the model, which says the size.
        folder: of the pictures; None draws scenes.
        count: how many scenes.
        skip_unknown: whether to pass over pictures whose folder is no class.

    Raises:
        ExportError: there are none, or as in `load`.
    """
    if folder is None:
        return drawn(source, MEASURING_SEED, count)
    found = _listed(source, folder, skip_unknown)
    return replace(load(source, folder, found.files), notes=found.notes)


def for_both(
    source: Source,
    calibration: Path | None,
    measuring: Path | None,
    *,
    skip_unknown: bool = False,
) -> tuple[Pictures, Pictures]:
    """Pictures to calibrate on, and others to measure on.

    Args:
        source: the model, which says the size.
        calibration: a folder; None draws scenes.
        measuring: a folder; None takes the calibration's, or draws scenes too.
        skip_unknown: whether to pass over pictures whose folder is no class.

    Raises:
        ExportError: too few are left for one of them, one cannot be read, or the folders of those
            measured on contradict each other.
    """
    measuring = measuring or calibration
    if calibration is None:
        measured = for_measuring(source, measuring, MANY, skip_unknown=skip_unknown)
        return drawn(source, CALIBRATION_SEED, MOST), measured
    assert measuring is not None
    wanted = _listed(source, measuring, skip_unknown)
    found = wanted if measuring == calibration else listed(calibration)
    folder_classes.shown(measuring, wanted.files, source)  # of all, also of those calibrated on
    chosen, held_out = apart(calibration, found.files, measuring, wanted.files)
    unasked = Shown(None, "they are calibrated on")
    return (
        replace(_read_all(source, calibration, chosen, unasked), notes=found.notes),
        replace(load(source, measuring, held_out), notes=wanted.notes),
    )


def apart(
    calibration: Path, candidates: Sequence[Path], measuring: Path, measured: Sequence[Path]
) -> tuple[list[Path], list[Path]]:
    """Choose the files to calibrate on, and those to measure on that none of them is a copy of.

    Raises:
        ExportError: too few are left for one of both.
    """
    hashes = {file: _hash(file) for file in (*candidates, *measured)}
    shared = {hashes[file] for file in candidates} & {hashes[file] for file in measured}
    chosen = _chosen(calibration, candidates, [hashes[file] in shared for file in candidates])
    taken = {hashes[file] for file in chosen}
    held_out = [file for file in measured if hashes[file] not in taken]
    if not held_out:
        raise ExportError(f"{measuring} holds no picture that is not calibrated on")
    return chosen, held_out


def _listed(source: Source, folder: Path, skip_unknown: bool) -> Listed:
    found = listed(folder)
    return folder_classes.without_unknown(folder, found, source) if skip_unknown else found


def _chosen(folder: Path, files: Sequence[Path], shared: list[bool]) -> list[Path]:
    """Those to calibrate on: all that are not measured on too, and a share of the others."""
    others = [file for file, is_shared in zip(files, shared, strict=True) if is_shared]
    free = [file for file, is_shared in zip(files, shared, strict=True) if not is_shared]
    free += others[::SHARE]
    if len(free) < LEAST:
        why = f" (one in {SHARE} of {len(others)}, the rest is measured on)" if others else ""
        raise ExportError(
            f"{folder} has {len(free)} pictures to calibrate on{why}; expected {LEAST} or more"
        )
    places = np.linspace(0, len(free) - 1, min(MOST, len(free))).round().astype(int)
    return [free[place] for place in places]


def _sized(
    images: Iterable[Image.Image],
    source: Source,
    names: tuple[str, ...],
    hashes: tuple[str, ...],
    known: Shown,
) -> Pictures:
    shape = (len(names), *source.size, 3)
    stretched, cropped = np.empty(shape, np.uint8), np.empty(shape, np.uint8)
    for place, image in enumerate(images):
        stretched[place] = _resized(image, source.size, None)
        cropped[place] = _resized(image, source.size, middle(image, source.size))
    return Pictures(stretched, cropped, names, hashes, known.classes, known.unknown)


def _read_all(source: Source, folder: Path, files: Sequence[Path], known: Shown) -> Pictures:
    names = tuple(file.relative_to(folder).as_posix() for file in files)
    hashes = tuple(_hash(file) for file in files)
    return _sized((read(file) for file in files), source, names, hashes, known)


def read(file: Path) -> Image.Image:
    """Decode a picture as Keras does, RGB.

    Raises:
        ExportError: it is empty, damaged or no picture.
    """
    if not file.stat().st_size:
        raise ExportError(f"{file} is empty; expected a JPEG or PNG picture")
    try:
        image: Image.Image = keras.utils.load_img(file)
        image.load()  # a picture that is RGB already is decoded no earlier
    except UnidentifiedImageError as error:
        raise ExportError(f"{file} is no picture; expected JPEG or PNG") from error
    except Exception as error:  # Pillow raises of all kinds where data is damaged
        raise ExportError(f"{file} is a damaged picture: {error}") from error
    return image


def _resized(image: Image.Image, size: tuple[int, int], box: Box | None) -> Pixels:
    """As keras.utils.load_img does with interpolation="bilinear"."""
    return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR, box=box))


def middle(image: Image.Image, size: tuple[int, int]) -> Box:
    """What the server cuts out: the middle with the shape of `size`, CROP of the largest such."""
    height, width = size
    scale = CROP * min(image.width / width, image.height / height)
    left, top = (image.width - width * scale) / 2, (image.height - height * scale) / 2
    return left, top, left + width * scale, top + height * scale


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
