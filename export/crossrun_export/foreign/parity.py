"""Whether an exported detector finds what its source finds, and how much a precision changes it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from crossrun_export import runtime
from crossrun_export.detector import check, detector_proof, suppress
from crossrun_export.detector.check import Parity
from crossrun_export.detector.measure import Detections
from crossrun_export.detector.settings import Thresholds
from crossrun_export.errors import ExportError
from crossrun_export.runtime import Inputs, Outputs

Rows = NDArray[np.float64]  # class, score and box of each detection, [found, 6]
ANOTHER = np.inf  # how far apart two detections are that cannot be of one object


@dataclass(frozen=True)
class Agreement:
    """How much of what one of two models finds the other finds as well."""

    images: int
    detections: int  # of the original
    agreement: float  # share of detections, of both, that have a like
    max_abs_diff: float  # of likes: of a score, and of a corner in shares of the picture


def found(model: onnx.ModelProto, inputs: Inputs, thresholds: Thresholds) -> Detections:
    """What a served graph finds with the thresholds of a request, those of them that it takes."""
    asked: dict[str, Inputs] = {
        suppress.SCORE: np.array([[thresholds.score]], np.float32),
        suppress.IOU: np.array([[thresholds.iou]], np.float32),
        suppress.MOST: np.array([[thresholds.most]], np.int64),
    }
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
    """Compare detections of the source and of the exported model, picture by picture.

    Each that one of them is sure of, over the threshold or the lowest of a full row by more than
    `allowed`, needs a like on the other side: of the same class, of a box that overlaps it by half
    (IoU), with score and corners within `allowed`.

    Raises:
        ExportError: one has none; the message names the worst picture.
    """
    every = range(len(names))
    differences = np.array([_difference(expected, got, p, thresholds, allowed) for p in every])
    worst = int(np.argmax(np.nan_to_num(differences, nan=np.inf)))
    if not differences[worst] <= allowed:  # so that NaN fails too
        far = differences[worst]
        what = f"differs by {far:.2g} in score or place" if far < ANOTHER else "has none like it"
        raise ExportError(
            f"the exported model does not find what the source finds: in {names[worst]}, the worst "
            f"of {len(names)} pictures, a detection {what}, allowed is {allowed:.2g}; the source "
            f"finds {expected.found[worst]} objects there, the exported model {got.found[worst]}"
        )
    return Parity(len(names), int(expected.found.sum()), float(differences[worst]))


def verify_raw(expected: Sequence[Outputs], got: Outputs, allowed: float) -> None:
    """Compare outputs before any detection is made of them, where none is found.

    Args:
        expected: the source's, picture by picture.
        got: those of the served graph without decoding, all pictures together.
        allowed: the largest difference, as a share of an output's largest value over 1.

    Raises:
        ExportError: a number is further off, or all of them are zero and say nothing.
    """
    joined = {name: np.concatenate([np.atleast_1d(one[name]) for one in expected]) for name in got}
    floats = {name: values for name, values in joined.items() if values.dtype.kind == "f"}
    if not any(values.any() for values in floats.values()):
        raise ExportError(
            f"the detector answers {len(expected)} pictures with zeros, which proves nothing; give "
            "--images or --data with pictures of what it was trained for"
        )
    for name, values in floats.items():
        away = np.abs(values - got[name].reshape(values.shape)).max()
        if not away <= allowed * max(1, np.abs(values).max()):
            raise ExportError(
                f"the exported model finds nothing, as the source, but {name!r} differs by up to "
                f"{away:.2g}"
            )


def agreement(expected: Detections, got: Detections, thresholds: Thresholds) -> Agreement:
    """Hold a reduced precision against the source, where pictures have no labels.

    Raises:
        ExportError: neither finds anything, so that nothing can be measured.
    """
    images, count = len(expected.found), int(expected.found.sum())
    if not count + got.found.sum():
        raise ExportError(
            f"what a reduced precision costs cannot be measured: the source finds nothing in "
            f"{images} pictures; give --images or --data with pictures of what it was trained for"
        )
    difference, same = detector_proof.compare(expected, got, thresholds.score, 0.0)
    return Agreement(images, count, same, difference)


def check_agreement(cost: Agreement, least: float, precision: str) -> None:
    """Hold an agreement against its limit; raises ExportError."""
    if not cost.agreement >= least:
        raise ExportError(
            f"{precision} agrees with the source on {cost.agreement:.2%} of the detections in "
            f"{cost.images} pictures, allowed is {least:.2%} or more (--min-reduced-agreement)"
        )


def _difference(
    one: Detections, other: Detections, picture: int, thresholds: Thresholds, allowed: float
) -> float:
    """How far the detection is off that is off the furthest; infinitely, if it has no like."""
    mine, mine_sure = check.rows_of(one, picture, thresholds, allowed)
    its, its_sure = check.rows_of(other, picture, thresholds, allowed)
    away = _away(mine, its, allowed)
    nearest = (
        away.min(axis=1, initial=ANOTHER)[mine_sure],
        away.min(axis=0, initial=ANOTHER)[its_sure],
    )
    return float(np.concatenate(nearest).max(initial=0.0))


def _away(mine: Rows, its: Rows, allowed: float) -> Rows:
    """How far each is from each, [mine, its]; what is within `allowed` needs no area to overlap."""
    away = np.abs(mine[:, None, 1:] - its[None, :, 1:]).max(axis=2)
    overlap = detector_proof.overlap(mine[:, None, 2:], its[None, :, 2:])
    unlike = (mine[:, None, 0] != its[None, :, 0]) | (
        (overlap < detector_proof.OVERLAP) & ~(away <= allowed)
    )
    return np.where(unlike, ANOTHER, away)
