"""Does an exported detector find the same, and what does a reduced precision cost?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from crossrun_export import runtime
from crossrun_export.detector import suppress
from crossrun_export.detector.measure import AveragePrecision, Detections
from crossrun_export.detector.settings import Thresholds
from crossrun_export.errors import ExportError
from crossrun_export.runtime import Inputs

Scores = NDArray[np.float32]
Floats = NDArray[np.float64]

OVERLAP = 0.5  # of two boxes, from which on they may be of one object
ALIEN = np.inf  # how far a detection is off that the other side does not have


@dataclass(frozen=True)
class Parity:
    """How far detections are from the original's; of Keras, with TensorFlow's suppression."""

    images: int
    detections: int
    max_abs_diff: float  # of a score, and of a corner in shares of the picture


@dataclass(frozen=True)
class Price:
    """Mean average precision, shares of 1; a change is this precision's less the original's."""

    images: int
    map: float
    map_change: float
    map_at_half: float
    map_at_half_change: float


def found(model: onnx.ModelProto, inputs: Inputs, thresholds: Thresholds | None) -> Detections:
    """What a graph finds with thresholds of a request, of which it gets those that it takes.

    None leaves them to the graph.
    """
    asked: dict[str, Inputs] = {}
    if thresholds is not None:
        asked[suppress.SCORE] = np.array([[thresholds.score]], np.float32)
        asked[suppress.IOU] = np.array([[thresholds.iou]], np.float32)
        asked[suppress.MOST] = np.array([[thresholds.most]], np.int64)
    taken = {value.name for value in model.graph.input}
    also = {name: value for name, value in asked.items() if name in taken}
    outputs = runtime.outputs(model, inputs, also)
    return Detections(*(outputs[name] for name in suppress.OUTPUTS))


def verify(
    expected: Detections,
    got: Detections,
    thresholds: Thresholds,
    allowed: float,
    names: Sequence[str],
) -> Parity:
    """Compare detections of the original and of the exported model, picture by picture.

    Each that one of them is sure of needs a like on the other side: of the same class, with a box
    that overlaps its own by OVERLAP, with score and corners within `allowed`. What lies within
    `allowed` of a threshold may be on either side of it.

    Args:
        expected: of the original.
        got: of the exported model.
        thresholds: of both.
        allowed: the largest difference of a score, and of a corner in shares of the picture.
        names: of the pictures.

    Raises:
        ExportError: a detection has no like; the message names the worst picture.
    """
    every = range(len(names))
    differences = np.array([_difference(expected, got, p, thresholds, allowed) for p in every])
    worst = int(differences.argmax())
    if not differences[worst] <= allowed:  # so that NaN fails too
        far = f"up to {differences[worst]:.2g} in score or place, allowed is {allowed:.2g}"
        what = far if differences[worst] < ALIEN else "objects that only one of both finds"
        raise ExportError(
            f"the exported model's detections differ by {what}; the worst is {names[worst]}, where "
            f"it finds {got.found[worst]} objects and the original {expected.found[worst]}"
        )
    return Parity(len(names), int(expected.found.sum()), float(differences[worst]))


def verify_scores(expected: Scores, got: Scores, allowed: float) -> None:
    """Compare scores before suppression, where nothing is found that could be compared.

    Args:
        expected: of the original, [pictures, cells, classes].
        got: of the exported network.
        allowed: the largest difference.

    Raises:
        ExportError: one is further off than `allowed`.
    """
    difference = float(np.abs(expected - got).max())
    if not difference <= allowed:  # so that NaN fails too
        raise ExportError(
            f"the exported model finds nothing, as Keras does, but its scores differ by up to "
            f"{difference:.2g}, allowed is {allowed:.2g}"
        )


def price(original: AveragePrecision, reduced: AveragePrecision, images: int) -> Price:
    """Compare two precisions on the same pictures."""
    return Price(
        images=images,
        map=reduced.mean,
        map_change=reduced.mean - original.mean,
        map_at_half=reduced.at_half,
        map_at_half_change=reduced.at_half - original.at_half,
    )


def check(price: Price, allowed: float, precision: str) -> None:
    """Hold a price against the percentage points of mAP that may be lost.

    Raises:
        ExportError: it is too high, or says nothing.
    """
    if price.map == price.map_change == 0:
        raise ExportError(
            f"the price of {precision} cannot be measured: the original finds nothing right in "
            f"{price.images} pictures; give --data with pictures of what it was trained for"
        )
    drop = -100 * float(np.min([price.map_change, price.map_at_half_change]))  # NaN, if one is
    if not drop <= allowed:
        raise ExportError(
            f"{precision} loses {drop:.2f} points of mAP, allowed are {allowed:.2f}, "
            f"on {price.images} pictures"
        )


def overlap(one: Floats, other: Floats) -> Floats:
    """Intersection over union of boxes ymin xmin ymax xmax, [..., 4]."""
    low, high = np.maximum(one[..., :2], other[..., :2]), np.minimum(one[..., 2:], other[..., 2:])
    common = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(boxes[..., 2:] - boxes[..., :2], axis=-1) for boxes in (one, other)]
    share: Floats = common / np.maximum(areas[0] + areas[1] - common, np.finfo(np.float64).tiny)
    return share


def _difference(
    one: Detections, other: Detections, picture: int, thresholds: Thresholds, allowed: float
) -> float:
    """How far the detection is off that is off the furthest; ALIEN, if it has no like."""
    mine, mine_sure = _of(one, picture, thresholds, allowed)
    its, its_sure = _of(other, picture, thresholds, allowed)
    away = _away(mine, its, allowed)
    nearest_to_mine = away.min(axis=1, initial=ALIEN)[mine_sure]
    nearest_to_its = away.min(axis=0, initial=ALIEN)[its_sure]
    return float(np.concatenate([nearest_to_mine, nearest_to_its]).max(initial=0.0))


def _away(mine: Floats, its: Floats, allowed: float) -> Floats:
    """How far each is from each, [mine, its]; what is within `allowed` needs no area to overlap."""
    away = np.abs(mine[:, None, 1:] - its[None, :, 1:]).max(axis=2)
    apart = overlap(mine[:, None, 2:], its[None, :, 2:]) < OVERLAP
    unlike = (mine[:, None, 0] != its[None, :, 0]) | (apart & (away > allowed))
    return np.where(unlike, ALIEN, away)


def _of(
    detections: Detections, picture: int, thresholds: Thresholds, allowed: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Class, score and box of each detection of a picture, [found, 6], and which are sure.

    Those are over the threshold, or the lowest score of a full row, by more than `allowed`.
    """
    count = int(detections.found[picture])
    scores = detections.scores[picture, :count]
    values = np.column_stack(
        [detections.classes[picture, :count], scores, detections.boxes[picture, :count]]
    )
    is_full = count == thresholds.most
    least = max(thresholds.score, scores.min() if is_full else 0)
    return values.astype(np.float64), scores > least + allowed
