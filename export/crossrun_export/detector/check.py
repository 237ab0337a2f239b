"""Does an exported detector find the same, and what does a reduced precision cost?"""

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


@dataclass(frozen=True)
class Parity:
    """How far detections are from those of Keras with TensorFlow's suppression."""

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
    """What a graph finds with thresholds of a request; None leaves them to the graph."""
    asked: dict[str, Inputs] = {}
    if thresholds is not None:
        asked[suppress.SCORE] = np.array([[thresholds.score]], np.float32)
        asked[suppress.IOU] = np.array([[thresholds.iou]], np.float32)
        asked[suppress.MOST] = np.array([[thresholds.most]], np.int64)
    outputs = runtime.outputs(model, inputs, asked)
    return Detections(*(outputs[name] for name in suppress.OUTPUTS))


def verify(expected: Detections, got: Detections, thresholds: Thresholds, allowed: float) -> Parity:
    """Compare detections of the original and of the exported model, picture by picture.

    Each that one of them is sure of has to be found by the other. What lies within `allowed` of a
    threshold may be on either side of it.

    Raises:
        ExportError: one is further off than `allowed`; the message names the picture.
    """
    pictures = range(len(expected.found))
    differences = np.array([_difference(expected, got, p, thresholds, allowed) for p in pictures])
    worst = int(differences.argmax())
    if not differences[worst] <= allowed:  # so that NaN fails too
        raise ExportError(
            f"the exported model's detections differ by up to {differences[worst]:.2g} in score "
            f"or place, allowed is {allowed:.2g}; the worst is picture {worst}, where it finds "
            f"{got.found[worst]} objects and Keras {expected.found[worst]}"
        )
    return Parity(len(pictures), int(expected.found.sum()), float(differences[worst]))


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


def _difference(
    one: Detections, other: Detections, picture: int, thresholds: Thresholds, allowed: float
) -> float:
    """How far the detection is off that is off the furthest; infinitely, if it has no like."""
    mine, mine_sure = rows_of(one, picture, thresholds, allowed)
    its, its_sure = rows_of(other, picture, thresholds, allowed)
    away = np.abs(mine[:, None] - its[None]).max(axis=2)
    nearest_to_mine = away.min(axis=1, initial=np.inf)[mine_sure]
    nearest_to_its = away.min(axis=0, initial=np.inf)[its_sure]
    return float(np.concatenate([nearest_to_mine, nearest_to_its]).max(initial=0.0))


def rows_of(
    detections: Detections, picture: int, thresholds: Thresholds, allowed: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
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
