"""What `crossrun-bench accuracy` measures of a detector."""

from dataclasses import dataclass

from crossrun_bench.measurements.result import Result
from crossrun_bench.models.info import ModelInfo

Box = tuple[float, ...]  # ymin, xmin, ymax, xmax in pixels of the picture


@dataclass(frozen=True)
class Truth:
    """An object that a picture shows."""

    number: int  # class, position in the model's labels
    box: Box
    crowd: bool = False  # of several of its kind: finding it counts neither way


@dataclass(frozen=True)
class Detection:
    """An object that was found in a picture."""

    number: int  # as in Truth
    score: float
    box: Box


@dataclass(frozen=True)
class TargetDetections:
    """What one target found, picture by picture, best first."""

    target: str
    detections: tuple[tuple[Detection, ...], ...]


@dataclass(frozen=True)
class ShownPicture:
    """A picture that a report shows, so that it can be made elsewhere."""

    number: int  # position among the pictures
    width: int  # of the picture itself
    jpeg: str  # the picture, or a smaller one, in base64


@dataclass(frozen=True)
class DetectionResult(Result):
    """Objects that the targets of one detector found, the reference first, and those there are."""

    model: ModelInfo
    min_score: float  # down to which all were asked
    pictures: tuple[str, ...]
    truths: tuple[tuple[Truth, ...], ...] | None  # of each picture; null if nobody knows
    left_out: int  # how many other pictures there were, which the model was calibrated on
    class_names: tuple[str, ...]
    targets: tuple[TargetDetections, ...]
    shown: tuple[ShownPicture, ...]
    sure: float = 0.5  # score from which on an object counts as found
    most: int = 100  # objects in a picture that a target returns
    # Classes that truths are known of; null for those that there is an object of.
    labelled: tuple[int, ...] | None = None
