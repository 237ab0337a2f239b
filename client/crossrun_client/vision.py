"""Asks for the classes of pictures and for the objects in them. Knows crossrun.v1.Vision."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossrun.v1 import vision_pb2 as pb
from crossrun_client.connection import Connection


@dataclass(frozen=True)
class Named:
    """A class and its score, 0 to 1."""

    index: int
    label: str
    score: float


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


def classify(
    connection: Connection, model: str, images: Sequence[bytes], top_k: int, min_score: float = 0.0
) -> list[tuple[Named, ...]]:
    """Ask for the `top_k` best classes of each encoded picture, best first.

    Raises:
        ClientError: the server cannot be asked, or a picture cannot be decoded.
    """
    request = pb.ClassifyRequest(model=model, images=images, top_k=top_k, min_score=min_score)
    results = connection.ask(connection.vision.Classify, request).results
    return [tuple(Named(c.index, c.label, c.score) for c in one.classes) for one in results]


def detect(connection: Connection, question: Question, image: bytes) -> Seen:
    """Ask for the objects in one encoded picture.

    Raises:
        ClientError: the server cannot be asked, or the picture cannot be decoded.
    """
    request = pb.DetectRequest(
        model=question.model,
        images=[image],
        min_score=question.min_score,
        max_detections=question.max_detections,
        iou_threshold=question.iou_threshold,
        labels=question.labels,
        tiles=_tiles(question.tiles),
    )
    (found,) = connection.ask(connection.vision.Detect, request).results
    return Seen(found.width, found.height, tuple(map(_thing, found.detections)))


def _tiles(asked: tuple[int, int] | None) -> pb.Tiles | None:
    return pb.Tiles(columns=asked[0], rows=asked[1]) if asked else None


def _thing(found: pb.Detection) -> Thing:
    box = found.box
    edges = (box.ymin, box.xmin, box.ymax, box.xmax)
    return Thing(found.index, found.label, found.score, edges)
