"""What can be asked of a detector and of its training; light, the command line reads it first."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from crossrun_export.options import Target

BUNDLED, RANDOM = "bundled", "random"
Resize = Literal["letterbox", "stretch"]


@dataclass(frozen=True)
class Training:
    """How to train; the defaults are those of the shipped weights."""

    alpha: float = 0.25
    size: int = 160
    backbone: str = BUNDLED  # where its weights come from, as `load_backbone` takes it
    epochs: int = 10
    batch: int = 32
    rate: float = 2e-3  # the highest, after the warm-up
    seed: int = 1


@dataclass(frozen=True)
class Data:
    """What to train and to measure on."""

    source: str = BUNDLED  # or the path of a COCO data set
    folder: Path | None = None  # of its pictures; None is that of the JSON file
    held_out: Path | None = None  # another data set to measure on; None takes one picture in ten
    # Of drawn pictures, how many.
    drawn: int = 12_000
    drawn_held_out: int = 2_000


@dataclass(frozen=True)
class Thresholds:
    """What of a network's boxes is a detection."""

    score: float = 0.3
    iou: float = 0.5
    most: int = 100


@dataclass(frozen=True)
class Weights:
    """Which weights to export."""

    source: str = BUNDLED  # or random, or a file that training wrote
    backbone: str | None = None  # where heads are random
    alpha: float | None = None  # None is that of the weights
    size: int | None = None  # likewise


@dataclass(frozen=True)
class Tolerance:
    """How far detections of the exported model may be from the original's."""

    max_diff: float = 1e-4  # of a score, and of a corner in shares of the picture
    max_map_drop: float = 1.0  # percentage points that int8 and fp16 may lose


@dataclass(frozen=True, kw_only=True)
class Options(Target):
    """What to make of a detector."""

    resize: Resize
    data: Path | None  # a COCO data set to verify and measure on; None draws scenes
    thresholds: Thresholds
    tolerance: Tolerance
