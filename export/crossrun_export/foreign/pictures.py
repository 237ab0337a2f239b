"""Pictures to hold an exported detector of another runtime against its source, at its size."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossrun_export import scenes
from crossrun_export.detector import coco, data
from crossrun_export.detector.data import Objects
from crossrun_export.detector.pictures import MANY, spread
from crossrun_export.errors import ExportError
from crossrun_export.folders import listed
from crossrun_export.foreign.settings import Options
from crossrun_export.pictures import (
    CALIBRATION_SEED,
    FEW,
    LEAST,
    MEASURING_SEED,
    MOST,
    SHARE,
    apart,
    read,
)

Size = tuple[int, int]  # height and width

PLENTY = 128  # drawn pictures to measure a price on
# Sizes of pictures for a source that takes any: what pads or halves differs on odd sides.
FREE: tuple[Size, ...] = ((384, 512), (333, 417))


@dataclass(frozen=True)
class Pictures:
    """Some pictures of one size."""

    pixels: NDArray[np.uint8]  # [count, height, width, 3]
    names: tuple[str, ...]
    hashes: tuple[str, ...]  # 16 hexadecimal digits of each file's SHA-256; none where drawn
    truth: tuple[Objects, ...] | None = None  # what they show, where that is known


@dataclass(frozen=True)
class Shown:
    """The pictures of an export."""

    measured: Pictures
    calibration: Pictures | None = None  # others
    resized: Pictures | None = None  # of another size, where it is free


def sizes(free: Size) -> tuple[Size, ...]:
    """Sizes for a source's, whose sides are -1 where they are free."""
    found = (tuple(own if own > 0 else side for own, side in zip(free, size, strict=True))
             for size in FREE)  # fmt: skip
    return tuple(dict.fromkeys((height, width) for height, width in found))


def for_export(free: Size, options: Options, labels: Sequence[str]) -> Shown:
    """Read or draw what is verified, measured and calibrated on.

    Args:
        free: the source's height and width; -1 is any.
        options: name the folders, or the data set.
        labels: of the source.

    Raises:
        ExportError: a picture or a data set cannot be read, has categories that are no labels, or
            there are too few pictures to calibrate on.
    """
    size, *others = sizes(free)
    if options.data is not None:
        measured, calibration = _of_data(options.data, size, options, labels)
    else:
        measured, calibration = _of_folders(size, options)
    resized = _drawn(MEASURING_SEED, FEW, others[0]) if others else None
    return Shown(measured, calibration, resized)


def _of_folders(size: Size, options: Options) -> tuple[Pictures, Pictures | None]:
    """What is measured on, and if there is something to calibrate, other pictures for that."""
    calibrates, measuring = "int8" in options.precisions, options.images or options.calibration
    if measuring is None:
        measured = _drawn(MEASURING_SEED, PLENTY if options.reduced else FEW, size)
        return measured, _drawn(CALIBRATION_SEED, MOST, size) if calibrates else None
    files = spread(listed(measuring).files, MANY)
    if not calibrates:
        return _read(measuring, files, size, options), None
    if options.calibration is None:
        return _read(measuring, files, size, options), _drawn(CALIBRATION_SEED, MOST, size)
    chosen, files = apart(options.calibration, listed(options.calibration).files, measuring, files)
    return (
        _read(measuring, files, size, options),
        _read(options.calibration, chosen, size, options),
    )


def _of_data(
    file: Path, size: Size, options: Options, labels: Sequence[str]
) -> tuple[Pictures, Pictures | None]:
    """Pictures of a COCO data set; one in SHARE of them calibrates, if there is something to."""
    found = coco.read(file, None)
    if unknown := [name for name in found.classes if name not in labels]:
        raise ExportError(f"{file} has the category {unknown[0]!r}, which is no label of the model")
    every = spread(range(len(found.pictures)), 2 * MANY)
    if "int8" not in options.precisions:
        return _examples(found, spread(every, MANY), size, options, labels), None
    if len(every) < SHARE * LEAST:
        raise ExportError(f"{file} has {len(every)} pictures; expected {SHARE * LEAST} or more")
    rest = [place for index, place in enumerate(every) if index % SHARE]
    return (
        _examples(found, spread(rest, MANY), size, options, labels),
        _examples(found, every[::SHARE][:MOST], size, options, labels),
    )


def _examples(
    found: coco.Coco, places: Sequence[int], size: Size, options: Options, labels: Sequence[str]
) -> Pictures:
    examples = list(data.fitted(found, size, places, options.resize))
    lines = np.array([labels.index(name) for name in found.classes])
    return Pictures(
        pixels=np.stack([example.pixels for example in examples]),
        names=tuple(found.pictures[place].file.name for place in places),
        hashes=tuple(_hash(found.pictures[place].file) for place in places),
        truth=tuple(Objects(it.objects.boxes, lines[it.objects.labels]) for it in examples),
    )


def _read(folder: Path, files: Sequence[Path], size: Size, options: Options) -> Pictures:
    return Pictures(
        pixels=np.stack([data.fit(read(file), size, options.resize)[0] for file in files]),
        names=tuple(file.relative_to(folder).as_posix() for file in files),
        hashes=tuple(map(_hash, files)),
    )


def _drawn(seed: int, count: int, size: Size) -> Pictures:
    """Scenes of several objects, cut to size."""
    groups = (scenes.draw_several(seed, index, max(size)) for index in range(count))
    pixels = np.stack([group.pixels[: size[0], : size[1]] for group in groups])
    return Pictures(pixels, tuple(f"drawn picture {place}" for place in range(count)), ())


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]
