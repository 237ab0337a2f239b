"""What model.onnx says of itself: the JSON in its metadata_props.

docs/model-repository.md lists the keys. Each function raises BenchError for a value that cannot be
read; it names the key and the file.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TypeVar

from crossrun_bench.codec import decode
from crossrun_bench.errors import BenchError
from crossrun_bench.models.heads import BINARY, HEADS
from crossrun_bench.models.model import PRECISIONS
from crossrun_bench.models.original import CALLED, Original

SOURCE, SCORES, PREPROCESSING = "crossrun.source", "crossrun.scores", "crossrun.preprocessing"
Metadata = Mapping[str, str]
T = TypeVar("T")


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become what the original takes; scale and offset have one number or three."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    color: str = "RGB"
    resize: str = "stretch"


@dataclass(frozen=True)
class Thresholds:
    """Of a detector, where a request gives none."""

    score_threshold: float
    iou_threshold: float


@dataclass(frozen=True)
class _Scores:
    head: str = "softmax"


@dataclass(frozen=True)
class _Calibration:
    sha256: tuple[str, ...] = ()


def made_from(metadata: Metadata, onnx: Path) -> dict[str, str]:
    """What a result keeps of the original: its name, its weights, its SHA-256."""
    found = _read(dict, metadata, SOURCE, onnx)
    how = {field.name for field in fields(Original)}
    return {key: text for key, text in found.items() if isinstance(text, str) and key not in how}


def original(metadata: Metadata, onnx: Path) -> Original:
    """The original, whose file is not a path yet."""
    found = _read(Original, metadata, SOURCE, onnx)
    if found.runtime not in CALLED:
        expected = f"expected one of {', '.join(CALLED)}"
        raise BenchError(f"{onnx}: unknown runtime '{found.runtime}' of its original: {expected}")
    return found


def scaling(metadata: Metadata, onnx: Path) -> Preprocessing:
    """The scaling: one number for all channels, or a list of three."""
    try:
        found = json.loads(metadata[PREPROCESSING])
        lists = {name: found[name] for name in ("scale", "offset")}
        lists = {name: x if isinstance(x, list) else [x] for name, x in lists.items()}
        read = decode(Preprocessing, found | lists)
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(PREPROCESSING, onnx) from error
    if {len(read.scale), len(read.offset)} - {1, 3} or read.color not in ("RGB", "BGR"):
        raise BenchError(f"{onnx}: '{PREPROCESSING}' does not fit the three channels RGB or BGR")
    return read


def head(metadata: Metadata, scores: int, onnx: Path) -> str:
    """What the scores are; probabilities of all classes if the file does not say."""
    found = _read(_Scores, metadata, SCORES, onnx, _Scores()).head
    if found not in HEADS:
        raise BenchError(f"{onnx}: unknown head '{found}': expected one of {', '.join(HEADS)}")
    if scores == 1 and found not in BINARY:
        raise BenchError(f"{onnx}: one score, and '{SCORES}' does not say what it means")
    return found


def precision(metadata: Metadata, onnx: Path) -> str:
    """One of PRECISIONS."""
    found = _read(str, metadata, "crossrun.precision", onnx, "fp32")
    if found not in PRECISIONS:
        expected = ", ".join(PRECISIONS)
        raise BenchError(f"{onnx}: unknown precision '{found}': expected one of {expected}")
    return found


def thresholds(metadata: Metadata, onnx: Path) -> Thresholds:
    """Of a detector."""
    return _read(Thresholds, metadata, "crossrun.detection", onnx)


def calibrated_on(metadata: Metadata, onnx: Path) -> tuple[str, ...]:
    """See `Model`."""
    return _read(_Calibration, metadata, "crossrun.calibration", onnx, _Calibration()).sha256


def _read(kind: type[T], metadata: Metadata, key: str, onnx: Path, absent: T | None = None) -> T:
    """The value of a key, which is JSON, or `absent` for a key that need not be there."""
    if key not in metadata and absent is not None:
        return absent
    try:
        return decode(kind, json.loads(metadata[key]))
    except (KeyError, ValueError) as error:
        raise _unreadable(key, onnx) from error


def _unreadable(key: str, onnx: Path) -> BenchError:
    return BenchError(f"{onnx}: no readable '{key}' in its metadata_props")
