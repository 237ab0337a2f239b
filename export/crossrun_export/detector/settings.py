"""What can be asked of a detector and of its training; light, the command line reads it first."""

from dataclasses import dataclass
from pathlib import Path

BUNDLED = "bundled"


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
