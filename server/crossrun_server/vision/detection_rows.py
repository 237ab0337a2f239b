"""The rows of a detector's outputs for one picture, whatever their layout.

Knows arrays and how they are to be read; no pictures, no requests.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossrun_server.errors import InvalidRequest, NoNumber, WrongLabels
from crossrun_server.model_config.detection_outputs import DetectionOutputs
from crossrun_server.model_config.probabilities import activated, in_range
from crossrun_server.models.model import Model
from crossrun_server.tensors.tensor_spec import Array
from crossrun_server.vision.pipeline import Prediction

Floats = NDArray[np.float64]


class DetectionRows(NamedTuple):
    """Boxes of a picture, each with its class; they are no detections unless `counted`."""

    boxes: Array  # [n, 4], in the order and the unit of the model
    scores: Floats  # [n]
    indices: NDArray[np.int64]  # [n], of labels; below 0 there is none
    counted: NDArray[np.bool_]  # [n]


@dataclass(frozen=True)
class RowReader:
    """Reads the rows of a model's outputs."""

    name: str  # of the model
    said: DetectionOutputs
    labels: int  # how many; 0 if there are none

    def read(self, look: Prediction, least: float) -> DetectionRows:
        """Read what a model says of a picture.

        Args:
            look: what it says.
            least: below this score a box with a score for each class is no detection.

        Raises:
            NoNumber: a score, a class or a corner of a detection is NaN, or their number is.
            InvalidRequest: a score is no probability, a class no whole number, or a side of a box
                below 0.
            WrongLabels: a box has more or fewer scores than there are labels.
        """
        if self.said.head is None:
            rows = self._numbered(look)
        else:
            rows = self._of_best_classes(look, least)
        self._check_numbers(rows.boxes[rows.counted], rows.scores[rows.counted])
        self._check_scores(rows.scores[rows.counted])
        self._check_sides(rows.boxes[rows.counted])
        return rows

    def _numbered(self, look: Prediction) -> DetectionRows:
        """Rows that have the number of a class each."""
        if "rows" in self.said.parts:
            rows = self._part(look, "rows")
            boxes, scores, classes = rows[:, :4], rows[:, 4], rows[:, 5]
        else:
            boxes, scores = self._part(look, "boxes"), self._part(look, "scores")
            classes = self._part(look, "classes")
        sure = scores.astype(np.float64)
        counted = self._counted(look, sure)
        numbers = np.where(counted, classes, 0)
        self._check_numbers(numbers)
        self._check_whole(numbers)
        return DetectionRows(boxes, sure, numbers.astype(np.int64) - self.said.first_class, counted)

    def _of_best_classes(self, look: Prediction, least: float) -> DetectionRows:
        """Rows that have a score for each class."""
        if self.said.before_classes:
            rows = self._lying(self._part(look, "rows"))
            boxes, scores = rows[:, :4], rows[:, 4:]
        else:
            boxes, scores = self._part(look, "boxes"), self._part(look, "scores")
        sure = activated(scores, self.said.head)
        if self.said.layout == "yolo-objectness":
            sure = sure[:, :1] * sure[:, 1:]
        each = self._labelled(sure)
        self._check_numbers(each)
        best = each.argmax(axis=1) if each.size else np.zeros(len(each), np.int64)
        scores = each.max(axis=1, initial=0).astype(np.float64)
        return DetectionRows(boxes, scores, best, (scores >= least) & (scores > 0))

    def _part(self, look: Prediction, part: str) -> Array:
        name = self.said.parts[part]
        return look[name] if self.said.batched else look.outputs[name]

    def _counted(self, look: Prediction, scores: Floats) -> NDArray[np.bool_]:
        """Which rows of a picture's outputs are detections."""
        if "count" not in self.said.parts:
            return (scores > 0) | np.isnan(scores)
        # The output of a single picture may have no dimension.
        count = look.outputs[self.said.parts["count"]].reshape(-1)[look.row]
        if np.isnan(count):
            raise NoNumber(f"{self.name!r} returns NaN as the number of detections")
        rows: NDArray[np.bool_] = np.arange(len(scores)) < count
        return rows

    def _lying(self, rows: Array) -> Array:
        """Rows along the first side; the number of labels tells which side that is."""
        width = self.said.before_classes + self.labels + (self.said.background != "none")
        fits = [side == width for side in rows.shape]
        if sum(fits) == 1:
            return rows if fits[1] else rows.T
        raise WrongLabels(
            f"{self.name!r} returns {list(rows.shape)} in {self.said.labelled!r}, where with "
            f"{self.labels} labels one side, and only one, has to be the {width} numbers of a box"
        )

    def _labelled(self, scores: Array) -> Array:
        """Leave out the scores of the background."""
        first, last = (self.said.background == side for side in ("first", "last"))
        each = scores[:, first : scores.shape[1] - last]
        if self.labels and each.shape[1] != self.labels:
            raise WrongLabels(
                f"{self.name!r} returns scores of {each.shape[1]} classes in "
                f"{self.said.labelled!r}, which has {self.labels} labels"
            )
        return each

    def _check_numbers(self, *parts: Array) -> None:
        if any(np.isnan(part).any() for part in parts):
            raise NoNumber(f"{self.name!r} returns detections that are not numbers")

    def _check_scores(self, scores: Floats) -> None:
        if not in_range(scores).all():
            raise InvalidRequest(
                f"{self.name!r} returns detections with scores from {scores.min():.4g} to "
                f"{scores.max():.4g}, expected probabilities from 0 to 1; use ModelInfer"
            )

    def _check_whole(self, classes: Array) -> None:
        odd = classes[classes != np.round(classes)]
        if len(odd):
            raise InvalidRequest(
                f"{self.name!r} returns {odd[0]:.4g} as the number of a class, expected a whole "
                "number; parameters 'detection.…' in config.pbtxt say how its outputs are read"
            )

    def _check_sides(self, boxes: Array) -> None:
        """A size below 0 makes a box's corners change places, so it is something else."""
        if self.said.box_order == "cxcywh" and (boxes[:, 2:] < 0).any():
            raise InvalidRequest(
                f"{self.name!r} returns a box with a side of {boxes[:, 2:].min():.4g}, so its "
                "boxes are no centres and sizes; parameters 'detection.box_order' says it"
            )


def reader(model: Model, said: DetectionOutputs) -> RowReader:
    """Return what reads the rows of a model."""
    return RowReader(model.name, said, len(model.labels.get(said.labelled, ())))
