"""Asks a running server for the objects in a picture. Knows Vision/Detect."""

from dataclasses import dataclass
from typing import Any

from crossrun.v1 import vision_pb2 as vision
from crossrun_bench.targets.runners.grpc_ import answered


@dataclass(frozen=True)
class Question:
    """What is asked about every picture; None leaves a setting to the model."""

    model: str
    min_score: float | None = None
    max_detections: int | None = None
    iou_threshold: float | None = None
    labels: tuple[str, ...] = ()  # empty for all
    tiles: tuple[int, int] | None = None  # columns and rows that each picture is cut into


@dataclass(frozen=True)
class Thing:
    """An object: its class, its score, and its box in pixels of the picture."""

    index: int
    label: str
    score: float
    box: tuple[float, float, float, float]  # ymin, xmin, ymax, xmax


@dataclass(frozen=True)
class Seen:
    """The objects in a picture, best first, and its size with EXIF orientation applied."""

    width: int
    height: int
    detections: tuple[Thing, ...]


def ask(stub: Any, question: Question, image: bytes) -> Seen:
    """Ask about one encoded picture.

    Raises:
        BenchError: the server refuses; the error holds its words.
    """
    request = vision.DetectRequest(
        model=question.model,
        images=[image],
        min_score=question.min_score,
        max_detections=question.max_detections,
        iou_threshold=question.iou_threshold,
        labels=question.labels,
        tiles=_tiles(question.tiles),
    )
    (found,) = answered(stub.Detect, request).results
    return Seen(found.width, found.height, tuple(map(_thing, found.detections)))


def _tiles(asked: tuple[int, int] | None) -> vision.Tiles | None:
    return vision.Tiles(columns=asked[0], rows=asked[1]) if asked else None


def _thing(found: vision.Detection) -> Thing:
    box = found.box
    edges = (box.ymin, box.xmin, box.ymax, box.xmax)
    return Thing(found.index, found.label, found.score, edges)
