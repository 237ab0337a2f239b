"""Pictures with boxes to measure an exported detector on, and others to calibrate it on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from crossrun_export import scenes
from crossrun_export.detector import coco, data
from crossrun_export.detector.data import Example
from crossrun_export.detector.settings import Options
from crossrun_export.errors import ExportError
from crossrun_export.pictures import CALIBRATION_SEED, FEW, LEAST, MEASURING_SEED, MOST, SHARE
from crossrun_export.sources import Source

MANY = 500  # pictures to measure a price on
T = TypeVar("T")


@dataclass(frozen=True)
class Pictures:
    """None of them is in both."""

    measured: Sequence[Example]
    calibration: Sequence[Example]


def for_export(source: Source, options: Options) -> Pictures:
    """A few to verify on, or where there is a price to measure, many, and some to calibrate on.

    Raises:
        ExportError: the data set cannot be read, has other categories than the detector, or has
            too few pictures.
    """
    measured, calibration = (MANY, MOST) if set(options.precisions) != {"fp32"} else (FEW, 0)
    if options.data is None:
        if calibration and source.labels != scenes.CLASSES:
            raise ExportError(
                "what a reduced precision costs cannot be measured: drawn pictures show none of "
                "the detector's classes; give --data with pictures of what it was trained for"
            )
        return Pictures(
            _drawn(source, MEASURING_SEED, measured), _drawn(source, CALIBRATION_SEED, calibration)
        )
    found = coco.read(options.data, None)
    if found.classes != source.labels:
        raise ExportError(
            f"{options.data} has the categories {', '.join(found.classes)}; "
            f"the detector's are {', '.join(source.labels)}"
        )
    every = range(len(found.pictures))
    if calibration and len(every) < SHARE * LEAST:
        raise ExportError(
            f"{options.data} has {len(every)} pictures; expected {SHARE * LEAST} or more"
        )
    kept = [place for place in every if place % SHARE or not calibration]
    return Pictures(
        *(
            data.fitted(found, source.size, spread(places, most), options.resize)
            for places, most in ((kept, measured), (every[::SHARE], calibration))
        )
    )


def _drawn(source: Source, seed: int, count: int) -> list[Example]:
    groups = (scenes.draw_several(seed, index, source.size[0]) for index in range(count))
    return [data.drawing(group) for group in groups]


def spread(places: Sequence[T], most: int) -> list[T]:
    """At most so many of all places, evenly spread over them."""
    chosen = np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)
    return [places[place] for place in chosen]
