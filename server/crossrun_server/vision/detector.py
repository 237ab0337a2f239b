"""How a model finds objects in pictures: what it is given, and what its outputs say was found.

Knows arrays and the model's configuration; no messages, no codecs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from crossrun_server.errors import InvalidRequest, NoNumber
from crossrun_server.model_config.detection_outputs import DetectionOutputs
from crossrun_server.model_config.probabilities import in_range
from crossrun_server.models.model import Model
from crossrun_server.tensors.tensor_spec import Array
from crossrun_server.vision import boxes, image_input
from crossrun_server.vision.boxes import Box, View
from crossrun_server.vision.image_input import ImageInput

Scores = NDArray[np.float64]

# The optional inputs by which a graph lets its callers choose: one value for each picture.
SCORE, IOU, MOST = "score_threshold", "iou_threshold", "max_detections"
LISTED = 20  # labels in a message


@dataclass(frozen=True)
class Wanted:
    """What a caller wants to be told of; None leaves it to the model."""

    min_score: float | None = None
    iou_threshold: float | None = None
    most: int | None = None  # of each picture
    classes: frozenset[int] | None = None  # None: all


@dataclass(frozen=True)
class Found:
    """One object: its class, from 0, and its box in pixels of the picture."""

    index: int
    score: float
    box: Box


@dataclass(frozen=True)
class Detector:
    """How pictures go into a model, and which of its outputs are what it found."""

    input: ImageInput
    output: DetectionOutputs

    @property
    def model(self) -> Model:
        """The model itself."""
        return self.input.model

    def indices(self, labels: Iterable[str]) -> frozenset[int] | None:
        """Find the classes of some labels; None, for all, where there are no labels to find.

        Raises:
            InvalidRequest: the model has no such label.
        """
        known = self.model.labels.get(self.output.classes, ())
        found = {label: _positions(label, known) for label in labels}
        if unknown := [label for label, positions in found.items() if not positions]:
            raise InvalidRequest(
                f"{self.model.name!r} has no label {unknown[0]!r}; it has {_listed(known)}"
            )
        return frozenset(chain.from_iterable(found.values())) or None

    def thresholds(self, wanted: Wanted) -> dict[str, float]:
        """What the graph is told of what is wanted: values of those optional inputs that it has.

        Raises:
            InvalidRequest: an IoU threshold is wanted, which only the graph can follow.
        """
        # With some classes wanted, which detection is one too many is known after the graph only.
        most = None if wanted.classes else self._most(wanted)
        values = {SCORE: wanted.min_score, IOU: wanted.iou_threshold, MOST: most}
        if wanted.iou_threshold is not None and IOU not in self.model.inputs:
            raise InvalidRequest(
                f"iou_threshold cannot be chosen: {self.model.name!r} has no input {IOU!r}, "
                "so it suppresses boxes as it was made to; leave it out"
            )
        return {
            name: value
            for name, value in values.items()
            if value is not None and name in self.model.inputs
        }

    def found(
        self, outputs: Mapping[str, Array], row: int, view: View, wanted: Wanted
    ) -> list[Found]:
        """Read what was found in one picture, best first, with boxes in it.

        Raises:
            NoNumber: a score, a class or a corner of a detection, or how many there are, is none.
            InvalidRequest: a score is no probability, which a caller's min_score is.
        """
        read = self.output
        scores = outputs[read.scores][row].astype(np.float64)
        counted = self._counted(scores, outputs, row)
        if any(np.isnan(outputs[name][row][counted]).any() for name in read.rows):
            raise NoNumber(f"{self.model.name!r} gives detections that are no numbers")
        self._check_range(scores[counted])
        indices = outputs[read.classes][row].astype(np.int64) - read.first_class
        raw = boxes.normalised(outputs[read.boxes][row], read.box_order, read.box_unit, view.input)
        placed = view.to_picture(raw)
        keep = counted & (indices >= 0)
        keep &= (placed[:, 2:] > placed[:, :2]).all(axis=1)  # all but those beside the picture
        if wanted.min_score is not None:
            keep &= scores >= wanted.min_score
        if wanted.classes is not None:
            keep &= np.isin(indices, list(wanted.classes))
        order = np.argsort(-scores, kind="stable")
        best = order[keep[order]][: wanted.most]
        return [Found(int(indices[i]), float(scores[i]), tuple(placed[i])) for i in best]

    def _most(self, wanted: Wanted) -> int | None:
        """How many detections the graph may give: no more than its outputs have room for."""
        room = self.model.outputs[self.output.scores].shape[1]
        return min(wanted.most, room) if wanted.most and room > 0 else wanted.most

    def _counted(self, scores: Scores, outputs: Mapping[str, Array], row: int) -> NDArray[np.bool_]:
        """Which rows of a picture's outputs are detections."""
        if self.output.count is None:
            return (scores > 0) | np.isnan(scores)
        counts = outputs[self.output.count].reshape(-1)  # of one picture it may have no dimension
        if np.isnan(counts[row]):
            raise NoNumber(f"{self.model.name!r} gives a number of detections that is none")
        rows: NDArray[np.bool_] = np.arange(len(scores)) < counts[row]
        return rows

    def _check_range(self, scores: Scores) -> None:
        if not in_range(scores).all():
            raise InvalidRequest(
                f"{self.model.name!r} gives detections with scores from {scores.min():.4g} to "
                f"{scores.max():.4g}, expected probabilities from 0 to 1; use ModelInfer"
            )


def describe(model: Model) -> Detector:
    """Find out how a model finds objects.

    Raises:
        InvalidRequest: it takes no pictures, or gives no detections.
    """
    found = model.config.detection
    if found is None:
        given = (f"{x.name!r} {x.datatype} {list(x.shape)}" for x in model.outputs.values())
        raise InvalidRequest(
            f"{model.name!r} gives no detections: expected the outputs detection_boxes "
            "[batch, max, 4], detection_scores and detection_classes [batch, max], or parameters "
            f"in config.pbtxt that name them (detection.boxes …); it gives {', '.join(given)}"
        )
    return Detector(image_input.describe(model, found.longest_side), found)


def _positions(label: str, known: Sequence[str]) -> list[int]:
    """Where a label is among those known; where none is, numbers stand for themselves."""
    if not known and label.isdecimal():
        return [int(label)]
    return [i for i, one in enumerate(known) if one == label]


def _listed(known: Sequence[str]) -> str:
    """The labels, or the first of them: a status has no room for thousands."""
    if not known:
        return "none, expected numbers from 0"
    more = f" … ({len(known)} in all)" if len(known) > LISTED else ""
    return ", ".join(known[:LISTED]) + more
