"""What a reduced precision costs: its answers against the original's, and against the labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from crossrun_export import heads, verify
from crossrun_export.errors import ExportError
from crossrun_export.options import HeadKind, Limits
from crossrun_export.pictures import Pictures
from crossrun_export.runtime import Scores


@dataclass(frozen=True)
class Price(verify.Parity):
    """Shares are 0 to 1; a change is this precision's share less the original's."""

    views: int  # in which each picture was seen: stretched, cropped, mirrored
    worst: str  # the picture that differs most
    top1: float | None  # None, as all that follows, where the pictures have no labels
    top1_change: float | None
    top5: float | None
    top5_change: float | None
    unlabelled: str | None = None  # why they have none


def price(
    expected: Sequence[Scores],
    got: Sequence[Scores],
    pictures: Pictures,
    kind: HeadKind = "softmax",
) -> Price:
    """Compare scores [count, classes] of each view of some pictures."""
    one, other = np.concatenate(expected), np.concatenate(got)
    parity, worst = verify.compare(one, other, kind)
    one, other = heads.ranked(one, kind), heads.ranked(other, kind)
    count, views = len(pictures.names), len(expected)
    labels = None if pictures.labels is None else np.tile(pictures.labels, views)
    top1, top5 = (_right(other, labels, k) for k in (1, 5))
    return Price(
        images=count,
        max_abs_diff=parity.max_abs_diff,
        top1_agreement=parity.top1_agreement,
        top5_agreement=parity.top5_agreement,
        alike=parity.alike,
        views=views,
        worst=pictures.names[worst % count],
        top1=top1,
        top1_change=_change(top1, _right(one, labels, 1)),
        top5=top5,
        top5_change=_change(top5, _right(one, labels, 5)),
        unlabelled=pictures.unlabelled,
    )


def check(price: Price, limits: Limits, precision: str) -> None:
    """Hold a price against the limits.

    Raises:
        ExportError: it is too high.
    """
    seen = f"on {price.images} pictures in {price.views} views; the worst is {price.worst}"
    if not np.isfinite(price.max_abs_diff):
        raise ExportError(f"{precision} has scores that are no numbers, {seen}")
    if price.top1_change is None and limits.needs_labels:
        raise ExportError(f"{precision}: top-1 was not measured: {price.unlabelled}, {seen}")
    drop = None if price.top1_change is None else round(-100 * price.top1_change, 6)
    if drop is not None and not drop <= limits.max_top1_drop:  # so that NaN fails too
        raise ExportError(
            f"{precision} loses {drop:.2f} points of top-1, "
            f"allowed are {limits.max_top1_drop:.2f}, {seen}; --max-top1-drop sets another limit"
        )
    if not price.top1_agreement >= limits.min_agreement:
        raise ExportError(
            f"{precision} agrees with the original on {price.top1_agreement:.2%}, "
            f"required are {limits.min_agreement:.2%}, {seen}; "
            "--min-reduced-agreement sets another limit"
        )


def _right(scores: Scores, labels: NDArray[np.int64] | None, k: int) -> float | None:
    """Share of pictures whose label is among the k best classes."""
    if labels is None or 1 < k >= scores.shape[1]:  # the best five of five are always right
        return None
    return float((verify.best(scores, k) == labels[:, np.newaxis]).any(axis=1).mean())


def _change(own: float | None, original: float | None) -> float | None:
    return None if own is None or original is None else own - original
