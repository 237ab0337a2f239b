"""Whether an exported detector finds what its source finds, and how much a precision changes it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossrun_export.detector import detector_proof
from crossrun_export.detector.measure import Detections
from crossrun_export.detector.settings import Thresholds
from crossrun_export.errors import ExportError
from crossrun_export.runtime import Outputs


@dataclass(frozen=True)
class Agreement:
    """How much of what one of two models finds the other finds as well."""

    images: int
    detections: int  # of the original
    agreement: float  # share of detections, of both, that have a like
    max_abs_diff: float  # of likes: of a score, and of a corner in shares of the picture


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
