"""Makes the proof of a detector: what Keras and TensorFlow's suppression find in some pictures."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from numpy.typing import NDArray

from crossrun_export import proof
from crossrun_export.detector import check, suppress
from crossrun_export.detector.data import Example, Pixels
from crossrun_export.detector.measure import Detections
from crossrun_export.detector.settings import Thresholds
from crossrun_export.errors import ExportError
from crossrun_export.options import Precision
from crossrun_export.proof import Bounds, Proof
from crossrun_export.runtime import Inputs

DETECTIONS = "detections"  # a name for all four outputs, which are held together

Floats = NDArray[np.float64]


def prover(
    ask: Callable[[Pixels], tuple[Inputs, Detections]],
    model: onnx.ModelProto,
    precision: Precision,
    thresholds: Thresholds,
    slack: float,
) -> Callable[[Pixels], Proof]:
    """What makes the proof of a detector on some pictures.

    Args:
        ask: returns what the graph takes for pictures, and what the original finds in them.
        model: the graph, with suppression.
        precision: of the graph.
        thresholds: as exported.
        slack: the largest difference of a score or a corner in full precision.

    Returns:
        A function that raises ExportError where the model is not what was verified.
    """

    def make(pixels: Pixels) -> Proof:
        inputs, expected = ask(pixels)
        got = check.found(model, inputs, None)
        max_diff, least = _bounds(expected, got, precision, thresholds, slack)
        return Proof(
            {model.graph.input[0].name: inputs},
            dict(zip(suppress.OUTPUTS, expected, strict=True)),
            Bounds({DETECTIONS: max_diff}, least),
            {DETECTIONS: {suppress.SCORE: thresholds.score}},
        )

    return make


def pixels_of(examples: Sequence[Example]) -> Pixels:
    """As many pictures as a proof may hold."""
    return np.stack([examples[place].pixels for place in proof.spread(len(examples), proof.MOST)])


def _bounds(
    expected: Detections,
    got: Detections,
    precision: Precision,
    thresholds: Thresholds,
    slack: float,
) -> tuple[float, float]:
    if precision == "fp32":
        difference, same = compare(expected, got, thresholds.score, slack)
        if not (difference <= slack and same == 1):
            raise ExportError(
                f"the exported model's detections differ by up to {difference:.2g} on the "
                f"pictures of its proof, where {same:.2%} are the same"
            )
        return slack, 1.0
    difference, _ = compare(expected, got, thresholds.score, 0.0)
    max_diff, _ = proof.reduced(difference, 1.0, slack)
    return proof.reduced(difference, compare(expected, got, thresholds.score, max_diff)[1], slack)


def compare(
    expected: Detections, got: Detections, threshold: float, tie: float
) -> tuple[float, float]:
    """Hold detections against the original's, picture by picture.

    A detection is sure if its score is over the least, the threshold or the lowest of a full row,
    by more than `tie`. Its like on the other side has the same class and overlaps it by
    check.OVERLAP.

    Returns:
        The largest difference between likes, of a score or a corner, and the share of sure
        detections, of both sides, that have a like.
    """
    differences, alike, sure = [0.0], 0, 0
    for picture in range(len(expected.found)):
        mine, my_sure = _of(expected, picture, threshold, tie)
        its, its_sure = _of(got, picture, threshold, tie)
        away = _away(mine, its)
        for nearest, counts in ((away.min(1, initial=np.inf), my_sure),
                                (away.min(0, initial=np.inf), its_sure)):  # fmt: skip
            found = nearest[counts]
            differences += found[found < np.inf].tolist()
            alike, sure = alike + int((found < np.inf).sum()), sure + len(found)
    return max(differences), alike / sure if sure else 1.0


def _of(
    detections: Detections, picture: int, threshold: float, tie: float
) -> tuple[Floats, NDArray[np.bool_]]:
    """Class, score and box of each detection, [found, 6], and whether it is sure."""
    count = int(detections.found[picture])
    scores = detections.scores[picture, :count]
    is_full = count == detections.scores.shape[1]
    least = max(threshold, scores.min() if is_full else 0.0)
    columns = (detections.classes[picture, :count], scores, detections.boxes[picture, :count])
    return np.column_stack(columns).astype(np.float64), scores > least + tie


def _away(mine: Floats, its: Floats) -> Floats:
    """How far each is from each, [mine, its]; infinitely, if they cannot be of one object."""
    away = np.abs(mine[:, None] - its[None])
    unlike = (away[..., 0] > 0) | (
        check.overlap(mine[:, None, 2:], its[None, :, 2:]) < check.OVERLAP
    )
    return np.where(unlike, np.inf, away[..., 1:].max(axis=2))
