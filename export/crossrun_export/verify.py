"""Does the exported model answer as the original does? Compares scores; runs no model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossrun_export import heads
from crossrun_export.errors import ExportError
from crossrun_export.options import HeadKind
from crossrun_export.runtime import Outputs, Scores
from crossrun_export.tolerance import TIE, Allowed

MANY = 5  # classes; of as many or fewer, the best five are all


@dataclass(frozen=True)
class Parity:
    """How near the two are. An agreement is the share of pictures that both decide alike."""

    images: int
    max_abs_diff: float
    top1_agreement: float  # the best class; of sigmoids and one score, what is over a half
    top5_agreement: float | None  # None where there are no more than five classes
    alike: bool  # the original answers all pictures the same: then equality says little


def verify(expected: Scores, got: Scores, names: Sequence[str], allowed: Allowed) -> Parity:
    """Compare scores [count, classes] of the original and of the exported model.

    Raises:
        ExportError: out of tolerance; the message names the worst picture.
    """
    parity, worst = compare(expected, got, allowed.kind, allowed.tie)
    where = f"; the worst is {names[worst]}"
    if not parity.max_abs_diff <= allowed.max_diff:  # so that NaN fails too
        why = f" ({allowed.because})" if allowed.because else ""
        raise ExportError(
            f"the exported model differs by up to {parity.max_abs_diff:.2g}, "
            f"allowed is {allowed.max_diff:.2g}{why}{where}; --max-diff sets another limit"
        )
    agreements = (parity.top1_agreement, parity.top5_agreement)
    agreement = min(share for share in agreements if share is not None)
    if not agreement >= allowed.min_agreement:
        raise ExportError(
            f"the exported model agrees on {agreement:.2%} of {len(names)} pictures, "
            f"required are {allowed.min_agreement:.2%}{where}; --min-agreement sets another limit"
        )
    return parity


def compare(
    expected: Scores, got: Scores, kind: HeadKind = "softmax", tie: float = TIE
) -> tuple[Parity, int]:
    """Compare scores [count, classes]; also returns the index of the picture that differs most."""
    difference = np.abs(expected - got).max(axis=1)
    parity = Parity(
        images=len(expected),
        max_abs_diff=float(difference.max()),
        top1_agreement=float(_decided_alike(expected, got, kind, tie).mean()),
        top5_agreement=(
            float(_same_best(expected, got, MANY, tie).mean()) if expected.shape[1] > MANY else None
        ),
        alike=heads.are_alike(expected),
    )
    return parity, int(difference.argmax())


def _decided_alike(expected: Scores, got: Scores, kind: HeadKind, tie: float) -> NDArray[np.bool_]:
    """Whether both decide alike on each picture, ties aside: [count].

    If classes are decided one by one, both have to find the same ones, or else the same best one.
    """
    best_alike = _same_best(heads.ranked(expected, kind), heads.ranked(got, kind), 1, tie)
    if kind not in heads.BY_CLASS:
        return best_alike
    least = heads.deciding(kind)
    there, unsure = expected >= least, np.abs(expected - least) < tie
    alike = ((there == (got >= least)) | unsure).all(axis=1)
    found: NDArray[np.bool_] = alike & (best_alike | there.any(axis=1))
    return found


def _same_best(expected: Scores, got: Scores, k: int, tie: float) -> NDArray[np.bool_]:
    """Whether each picture's k best classes are among the original's k best, ties aside."""
    chosen = best(got, k)
    least = -np.sort(-expected, axis=1)[:, k - 1]
    scores = np.take_along_axis(expected, chosen, axis=1)
    alike: NDArray[np.bool_] = scores.min(axis=1) >= least - tie
    return alike


def best(scores: Scores, k: int) -> NDArray[np.int64]:
    """The k best classes of each picture, best first: [count, k]."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def merit(kind: HeadKind) -> Callable[[Outputs, Outputs], tuple[float, float]]:
    """How near a classifier's answers are: the agreement, then the mean difference, negative."""

    def near(expected: Outputs, found: Outputs) -> tuple[float, float]:
        (one,), (other,) = expected.values(), found.values()
        parity, _ = compare(one, other, kind)
        return parity.top1_agreement, -float(np.abs(one - other).max(axis=1).mean())

    return near
