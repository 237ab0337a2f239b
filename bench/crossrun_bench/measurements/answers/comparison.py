"""Answers of classifiers to the same pictures, beside those of a reference."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """What one target said of one picture, and how far it is from what the reference said."""

    top5: tuple[int, ...]  # positions in the model's output, best first
    scores: tuple[float, ...]
    difference: float  # the largest of any class's probability, absolute
    divergence: float | None = None  # Kullback-Leibler, from the reference, nats; see `answers`
    # Whether the same classes are there; null where the best class decides.
    same_classes: bool | None = None


def agree(said: Answer, reference: Answer) -> bool:
    """Whether an answer decides what the reference does."""
    if said.same_classes is not None:
        return said.same_classes
    return said.top5[0] == reference.top5[0]


@dataclass(frozen=True)
class TargetAnswers:
    """What one target said, picture by picture."""

    target: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Answers of some targets on the same pictures; the first target is the reference."""

    pictures: tuple[str, ...]
    labels: tuple[int, ...] | None  # what each picture shows; null if that is unknown
    unlabelled: str | None  # why it is unknown
    left_out: int = 0  # how many other pictures there were, which a model was calibrated on
    targets: tuple[TargetAnswers, ...]
