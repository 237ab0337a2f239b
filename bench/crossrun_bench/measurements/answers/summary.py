"""Shares and differences of classifiers' answers, computed on reading."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossrun_bench.measurements.answers.comparison import Answer, Comparison, TargetAnswers, agree


@dataclass(frozen=True)
class AccuracyRow:
    """One target against the labels and against the reference. Shares are 0 to 1."""

    target: str
    top1: float | None  # None if labels are unknown
    top5: float | None
    agreement: float  # same first class as the reference, or same classes
    agreeing: int  # pictures
    pictures: int
    max_difference: float  # of any probability, absolute
    divergence: float | None  # mean over the pictures, nats; None in results of before it was kept


def accuracy_rows(comparison: Comparison) -> list[AccuracyRow]:
    """A row for each target, the reference first."""
    return [_row(target, comparison) for target in comparison.targets]


def agreeing(own: Sequence[Answer], reference: Sequence[Answer]) -> list[bool]:
    """For each picture whether a target decides what the reference does."""
    return [agree(*pair) for pair in zip(own, reference, strict=True)]


def hits(answers: Sequence[Answer], labels: Sequence[int], top: int) -> list[bool]:
    """For each picture whether one of a target's `top` first classes is its label."""
    pairs = zip(answers, labels, strict=True)
    return [label in answer.top5[:top] for answer, label in pairs]


def _row(target: TargetAnswers, comparison: Comparison) -> AccuracyRow:
    count = len(comparison.pictures)
    alike = sum(agreeing(target.answers, comparison.targets[0].answers))
    return AccuracyRow(
        target=target.target,
        top1=_share(target, comparison.labels, 1),
        top5=_share(target, comparison.labels, 5),
        agreement=alike / count,
        agreeing=alike,
        pictures=count,
        max_difference=float(np.max([answer.difference for answer in target.answers])),
        divergence=_divergence(target),
    )


def _divergence(target: TargetAnswers) -> float | None:
    known = [a.divergence for a in target.answers if a.divergence is not None]
    return sum(known) / len(known) if known else None


def _share(target: TargetAnswers, labels: Sequence[int] | None, top: int) -> float | None:
    if labels is None or len(target.answers[0].top5) < top:  # the best five of four are all
        return None
    return sum(hits(target.answers, labels, top)) / len(labels)
