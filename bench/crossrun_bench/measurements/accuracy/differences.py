"""Where targets give another first class than the reference: which pictures, which classes.

Computed on reading. Knows nothing of how it is shown.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from crossrun_bench.measurements.answers.comparison import Answer, Comparison

SHOWN = 12  # flips: a page, and a result with its small pictures, stays readable


@dataclass(frozen=True)
class Flip:
    """A picture, and targets that agree on another first class than the reference."""

    picture: int  # position
    targets: tuple[str, ...]
    reference: Answer
    said: Answer  # by the one of these targets that differs most


@dataclass(frozen=True)
class ClassRow:
    """A class, how many pictures of it there are, and how many flip, by target."""

    number: int  # position in the model's output
    pictures: int
    flips: dict[str, int]


def flips(comparison: Comparison) -> list[Flip]:
    """All of them, the largest difference of any probability first."""
    found: dict[tuple[int, int], list[tuple[str, Answer]]] = defaultdict(list)
    for picture, target, answer in _flipped(comparison):
        found[picture, answer.top5[0]].append((target, answer))
    rows = [_flip(comparison, picture, said) for (picture, _), said in found.items()]
    return sorted(rows, key=lambda row: -row.said.difference)


def shown(comparison: Comparison) -> list[Flip]:
    """Those that a report shows, and a result keeps small pictures of."""
    return flips(comparison)[:SHOWN]


def by_class(comparison: Comparison) -> list[ClassRow]:
    """The classes with flips, most first: of labels, else of what the reference says."""
    classes = comparison.labels or [a.top5[0] for a in comparison.targets[0].answers]
    pictures, found = Counter(classes), defaultdict[int, Counter[str]](Counter)
    for picture, target, _ in _flipped(comparison):
        found[classes[picture]][target] += 1
    rows = [ClassRow(number, pictures[number], dict(by)) for number, by in found.items()]
    return sorted(rows, key=lambda row: (-sum(row.flips.values()), row.number))


def _flipped(comparison: Comparison) -> Iterator[tuple[int, str, Answer]]:
    """Each answer with another first class than the reference's, its picture and its target."""
    reference, *others = comparison.targets
    for other in others:
        pairs = zip(other.answers, reference.answers, strict=True)
        for picture, (answer, expected) in enumerate(pairs):
            if answer.top5[0] != expected.top5[0]:
                yield picture, other.target, answer


def _flip(comparison: Comparison, picture: int, said: list[tuple[str, Answer]]) -> Flip:
    targets, answers = zip(*said, strict=True)
    worst = max(answers, key=lambda answer: answer.difference)
    return Flip(picture, targets, comparison.targets[0].answers[picture], worst)
