"""Classifiers' answers as `compare` looks at them."""

from collections.abc import Hashable

from crossrun_bench.measurements.answers.comparison import Comparison
from crossrun_bench.measurements.answers.summary import agreeing, hits
from crossrun_bench.view.series import Answers


def answers(comparison: Comparison) -> dict[Hashable, Answers]:
    """By target what it was compared in, but for the reference."""
    reference, *others = comparison.targets
    labels = comparison.labels
    return {
        target.target: Answers(
            target=target.target,
            setting=f"{len(comparison.pictures):,} pictures",
            pictures=comparison.pictures,
            labels=labels,
            right=None if labels is None else hits(target.answers, labels, 1),
            agreeing=agreeing(target.answers, reference.answers),
        )
        for target in others
    }
