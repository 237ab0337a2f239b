"""How a model finds objects in pictures: what its graph is told, and how its outputs are read.

Knows arrays and the model's configuration; no messages, no codecs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from crossrun_server.errors import InvalidRequest
from crossrun_server.model_config.detection_outputs import DetectionOutputs
from crossrun_server.models.model import Model
from crossrun_server.tensors.tensor_spec import Array
from crossrun_server.vision import boxes, detection_rows, image_input, tiles
from crossrun_server.vision.boxes import Box, Boxes, View
from crossrun_server.vision.detection_rows import DetectionRows
from crossrun_server.vision.image_input import ImageInput
from crossrun_server.vision.pipeline import Prediction
from crossrun_server.vision.suppression import suppress
from crossrun_server.vision.tiles import WHOLE, Tiles

# Optional inputs of a graph, with which its callers choose: a value for each picture.
SCORE, IOU, MOST = "score_threshold", "iou_threshold", "max_detections"
# Above which boxes are one object, if nobody says it: of several looks, or of one network that
# returns many for each object. And how many such a network finds at most. As the export has it.
MERGING_IOU = SUPPRESSING_IOU = 0.5
DEFAULT_MOST = 100
LARGEST_MOST = 1000  # in a look: each is compared with all others
LISTED = 20  # labels in a message


@dataclass(frozen=True)
class DetectOptions:
    """Which detections a caller asks for; None leaves it to the model."""

    min_score: float | None = None
    iou_threshold: float | None = None
    max_detections: int | None = None  # of each picture
    classes: frozenset[int] | None = None  # None: all
    tiles: Tiles = WHOLE  # into which each picture is cut

    @property
    def is_tiled(self) -> bool:
        """Whether what is found in several looks has to be merged."""
        return self.tiles.looks > 1


class Rows(NamedTuple):
    """What was found, in the order of the model's rows."""

    scores: NDArray[np.float64]  # [n]
    indices: NDArray[np.int64]  # [n], from 0
    boxes: Boxes  # [n, 4], in pixels of the picture


@dataclass(frozen=True)
class Detection:
    """An object: its class, from 0, and its box in pixels of the picture."""

    index: int
    label: str
    score: float
    box: Box


@dataclass(frozen=True)
class Detector:
    """How pictures go into a model, and which of its outputs are what it found."""

    input: ImageInput
    outputs: DetectionOutputs

    @property
    def model(self) -> Model:
        """The model itself."""
        return self.input.model

    def indices(self, labels: Iterable[str]) -> frozenset[int] | None:
        """Return the classes that have some labels; None, for all, if no label is given.

        Raises:
            InvalidRequest: the model has no such label.
        """
        known = self.model.labels.get(self.outputs.labelled, ())
        found = {label: _positions(label, known) for label in labels}
        if unknown := [label for label, positions in found.items() if not positions]:
            raise InvalidRequest(
                f"{self.model.name!r} has no label {unknown[0]!r}; it has {_listed(known)}"
            )
        return frozenset(chain.from_iterable(found.values())) or None

    def thresholds(self, options: DetectOptions) -> dict[str, float]:
        """Return what the graph itself is told: a value for each of its inputs that takes one.

        Raises:
            InvalidRequest: an IoU threshold is asked for, and the graph has no input for it.
        """
        # If only some classes are asked for, or tiles are merged, the graph cannot know which
        # detection is too many.
        most = None if options.classes or options.is_tiled else self._most(options)
        values = {SCORE: options.min_score, IOU: options.iou_threshold, MOST: most}
        chosen = options.iou_threshold is not None and not (
            options.is_tiled or self.outputs.overlaps
        )
        if chosen and IOU not in self.model.inputs:
            raise InvalidRequest(
                f"iou_threshold cannot be chosen: {self.model.name!r} has no input {IOU!r}, "
                "so it suppresses boxes as it was made to; leave it out"
            )
        return {
            name: value
            for name, value in values.items()
            if value is not None and name in self.model.inputs
        }

    def detections(self, looks: Sequence[Prediction], options: DetectOptions) -> list[Detection]:
        """Return what was found in a picture, best first, with boxes in it.

        Args:
            looks: what the model says of the whole picture, then of each tile.
            options: what is asked for.

        Raises:
            NoNumber: a score, a class or a corner is NaN, or the number of detections is.
            InvalidRequest: a score is no probability, so it cannot be compared with min_score.
            WrongLabels: a class has no label, and others have.
        """
        found = [self._found(look, looks[0].view, options) for look in looks]
        rows = Rows(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        best = _merged(found, rows, looks[0].view, options) if options.is_tiled else _sorted(rows)
        return [self._detection(rows, i) for i in best[: options.max_detections]]

    def _found(self, look: Prediction, whole: View, options: DetectOptions) -> Rows:
        """What a look has found of what is asked for, but for what its tile cuts."""
        rows = detection_rows.reader(self.model, self.outputs).read(look, options.min_score or 0)
        keep = rows.counted & (rows.indices >= 0)
        if options.min_score is not None:
            keep &= rows.scores >= options.min_score
        if options.classes is not None:
            keep &= np.isin(rows.indices, list(options.classes))
        shares = self._shares(rows.boxes, look.view)
        if self.outputs.overlaps:
            keep = self._best(shares, rows, keep, options)
        placed = look.view.to_picture(shares)
        keep &= tiles.uncut(placed, look.view, whole)
        keep &= (placed[:, 2:] > placed[:, :2]).all(axis=1)  # all but those beside the picture
        return Rows(rows.scores[keep], rows.indices[keep], placed[keep])

    def _best(
        self, shares: Boxes, rows: DetectionRows, keep: NDArray[np.bool_], options: DetectOptions
    ) -> NDArray[np.bool_]:
        """Which rows stay if of boxes that show one object the best does."""
        iou = SUPPRESSING_IOU if options.iou_threshold is None else options.iou_threshold
        places = np.flatnonzero(keep)
        parts = (shares[places], rows.scores[places], rows.indices[places])
        best = np.zeros_like(keep)
        # Of a tile, those that are cut are left out only after this.
        most = (None if options.is_tiled else options.max_detections) or DEFAULT_MOST
        best[places[suppress(*parts, iou, min(most, LARGEST_MOST))]] = True
        return best

    def _most(self, options: DetectOptions) -> int | None:
        """How many detections to ask the graph for: no more than its outputs have room for."""
        most, spec = options.max_detections, self.model.outputs[self.outputs.labelled]
        room = spec.shape[1] if self.outputs.batched and self.outputs.head is None else -1
        return min(most, room) if most and room > 0 else most

    def _shares(self, found: Array, view: View) -> Boxes:
        """Boxes in shares of the input."""
        return boxes.normalised(found, self.outputs.box_order, self.outputs.box_unit, view.input)

    def _detection(self, rows: Rows, row: int) -> Detection:
        index, box = int(rows.indices[row]), tuple(rows.boxes[row])
        label = self.model.label(self.outputs.labelled, index)
        return Detection(index, label, float(rows.scores[row]), box)


def describe(model: Model) -> Detector:
    """Find out how a model finds objects.

    Raises:
        InvalidRequest: it takes no pictures, or has no outputs of detections.
    """
    found = model.config.detection_outputs
    if found is None:
        given = (f"{x.name!r} {x.datatype} {list(x.shape)}" for x in model.outputs.values())
        raise InvalidRequest(
            f"{model.name!r} returns no detections: expected the outputs detection_boxes "
            "[batch, max, 4], detection_scores and detection_classes [batch, max], or parameters "
            "in config.pbtxt that say how its outputs are read (detection.layout …); it returns "
            f"{', '.join(given)}"
        )
    return Detector(image_input.describe(model, found.longest_side), found)


def _sorted(rows: Rows) -> NDArray[np.int64]:
    """All rows, best first."""
    return np.argsort(-rows.scores, kind="stable")


def _merged(
    found: Sequence[Rows], rows: Rows, whole: View, options: DetectOptions
) -> NDArray[np.int64]:
    """The rows of several looks that are different objects, best first.

    Those of one look leave each other alone: the model has suppressed among them as it is made to.
    """
    looks = np.repeat(np.arange(len(found)), [len(part.scores) for part in found])
    iou = MERGING_IOU if options.iou_threshold is None else options.iou_threshold
    boxes = tiles.widened(rows.boxes, whole)
    return suppress(boxes, rows.scores, rows.indices, iou, options.max_detections, looks)


def _positions(label: str, known: Sequence[str]) -> list[int]:
    """The classes that have a label; without labels a number stands for itself."""
    if not known and label.isdecimal():
        return [int(label)]
    return [i for i, name in enumerate(known) if name == label]


def _listed(known: Sequence[str]) -> str:
    """The labels, or the first few: a status has no room for thousands."""
    if not known:
        return "none, expected numbers from 0"
    more = f" … ({len(known)} in all)" if len(known) > LISTED else ""
    return ", ".join(known[:LISTED]) + more
