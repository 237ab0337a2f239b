"""What can be asked of an export of another runtime's model; light, the command line reads it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crossrun_export.detector.settings import Thresholds
from crossrun_export.errors import ExportError
from crossrun_export.foreign.said import PARTS, Said
from crossrun_export.options import AnyResize, HeadKind, Limits, Target


@dataclass(frozen=True, kw_only=True)
class Options(Target):
    """What to make of a classifier or a detector."""

    resize: AnyResize
    labels: Path | None = None
    pixels: str | None = None  # as --pixels says it; None: what the model tells
    size: tuple[int, int] | None = None  # height and width, where the model leaves them free
    images: Path | None = None  # photographs to verify on; None draws scenes
    calibration: Path | None = None  # photographs to calibrate int8 on; None draws scenes
    max_diff: float | None = None  # of a score, and of a corner in shares; None: what suits
    min_agreement: float = 1.0  # of a classifier, share of equal top-1 and top-5
    limits: Limits = field(default_factory=Limits)  # of int8 and fp16
    # Of a classifier.
    scores: HeadKind | None = None
    scores_output: str | None = None
    skip_unknown: bool = False
    # Of a detector.
    data: Path | None = None  # a COCO data set to verify and measure on
    thresholds: Thresholds = field(default_factory=Thresholds)
    max_map_drop: float = 1.0  # percentage points that int8 and fp16 may lose
    said: Said = field(default_factory=Said)  # of its outputs


def size(text: str | None) -> tuple[int, int] | None:
    """What --size asks for, HEIGHTxWIDTH; raises ExportError."""
    if text is None:
        return None
    if not (found := re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)):
        raise ExportError(f"--size {text!r}: expected HEIGHTxWIDTH in pixels, such as 320x320")
    return int(found[1]), int(found[2])


def parts(words: Sequence[str]) -> dict[str, str]:
    """What --part names, each part=NAME; raises ExportError."""
    known = tuple(dict.fromkeys(part for some in PARTS.values() for part in some))
    pairs = [word.partition("=") for word in words]
    found = {part: name for part, _, name in pairs}
    if wrong := [part for part, name in found.items() if part not in known or not name]:
        raise ExportError(f"--part {wrong[0]!r}: expected PART=OUTPUT, of {', '.join(known)}")
    return found
