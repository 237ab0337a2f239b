"""Is it the right range? The original's answers to the same pictures, scaled in other usual ways.

Equality of the export and its original cannot show it, for both are given the same numbers.
"""

from dataclasses import dataclass, replace
from math import comb

import numpy as np
from numpy.typing import NDArray

from crossrun_export import heads, inference, pictures, verify
from crossrun_export.errors import ExportError
from crossrun_export.options import HeadKind
from crossrun_export.original import Classifier
from crossrun_export.pictures import Pictures
from crossrun_export.runtime import Scores
from crossrun_export.scaling import CHOICES, Scaling

LABELLED, UNLABELLED = 128, 32  # pictures at most; without labels they can only be told of
# So rarely would a range that is no better be right on so many more pictures by chance.
SURE = 1e-3


@dataclass(frozen=True)
class Seen:
    """How the original answers to pictures scaled in several ways."""

    pictures: int
    top1: bool  # whether shares are of right answers, or mean largest probabilities
    shares: dict[str, float]  # by the scaling's name, 0 to 1, the exported one's first

    def __str__(self) -> str:
        """In one line."""
        (own, share), *others = self.shares.items()
        told = ", ".join(f"{other:.2%} with {name}" for name, other in others)
        what = "top-1" if self.top1 else "mean confidence"
        return f"{what} on {self.pictures} pictures: {share:.2%} with pixels {own}; {told}"


def compare(source: Classifier, measured: Pictures, kind: HeadKind = "softmax") -> Seen | None:
    """Ask the original about pictures scaled as the export does, and in the other usual ways.

    Args:
        source: the original.
        measured: some of these are taken; where they are drawn and have labels, more are drawn.
        kind: what its scores are.

    Returns:
        What it answers; None if there are neither labels nor probabilities to judge by.

    Raises:
        ExportError: with labels, another way is clearly better: a sign test on the pictures that
            only one of the two answers right.
    """
    pixels, labels = _chosen(source, measured)
    scores = {way.name: inference.original_scores(source, pixels, way) for way in _ways(source)}
    if labels is None:
        return _confidence({name: heads.probabilities(s, kind) for name, s in scores.items()})
    classes = {name: verify.best(heads.ranked(s, kind), 1)[:, 0] for name, s in scores.items()}
    right = {name: found == labels for name, found in classes.items()}
    _check(right)
    return Seen(len(labels), True, {name: float(each.mean()) for name, each in right.items()})


def _chosen(
    source: Classifier, measured: Pictures
) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    """Pictures from all over those that are measured on, and their labels."""
    labels, is_drawn = measured.labels, not measured.hashes
    if labels is not None and is_drawn and len(labels) < LABELLED:
        more = pictures.drawn(source, pictures.MEASURING_SEED, LABELLED)
        return more.stretched, more.labels
    count, most = len(measured.names), UNLABELLED if labels is None else LABELLED
    chosen = np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)
    return measured.stretched[chosen], None if labels is None else labels[chosen]


def _ways(source: Classifier) -> list[Scaling]:
    """The source's own, and all that differ from it."""
    own = source.preprocessing.scaling
    return [own, *(way for way in CHOICES.values() if replace(way, name=own.name) != own)]


def _check(right: dict[str, NDArray[np.bool_]]) -> None:
    """Raise if another way than the first is clearly better."""
    (own, ours), *others = right.items()
    theirs = max((found for _, found in others), key=np.count_nonzero)
    names = [name for name, found in others if found.sum() == theirs.sum()]
    if _chance(int((theirs & ~ours).sum()), int((ours & ~theirs).sum())) < SURE:
        raise ExportError(
            f"with pixels {own} {ours.mean():.2%} of {len(ours)} pictures are classified right, "
            f"with pixels {names[0]} {theirs.mean():.2%}: say what the model takes, "
            f"--pixels {' or '.join(names)}"
        )


def _chance(gained: int, lost: int) -> float:
    """How likely so many gains or more are if gains and losses are alike."""
    count = gained + lost
    return sum(comb(count, k) for k in range(gained, count + 1)) / 2.0**count


def _confidence(probabilities: dict[str, Scores]) -> Seen | None:
    every = np.stack(list(probabilities.values()))
    if not (every.min() >= 0 and every.max() <= 1 + 1e-3):  # so that NaN is none either
        return None
    shares = {name: float(found.max(axis=1).mean()) for name, found in probabilities.items()}
    return Seen(every.shape[1], False, shares)
