"""What a comparison of two results looks at, whatever measured them."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from crossrun_bench.models.info import ModelInfo

Key = tuple[str, str]  # target and setting, such as "batch 8"
Row = tuple[str, str, str]  # target, setting, metric
Facts = Mapping[str, str | None]  # None: not known


@dataclass(frozen=True)
class Series:
    """What one target answered at one setting, round by round."""

    numbers: list[int]  # of the rounds
    # Milliseconds of each request; no rounds if requests were only counted.
    rounds: list[NDArray[Any]]
    rates: NDArray[Any]  # a row (pictures answered, seconds) for each round
    trips: list[int | None]  # nanoseconds from core to core and back before each round, where known

    @property
    def answered(self) -> list[NDArray[Any]]:
        """The rounds in which a request was answered, and timed."""
        return [times for times in self.rounds if len(times)]

    def only(self, places: Sequence[int]) -> "Series":
        """Some of its rounds, by where they stand."""
        return Series(
            [self.numbers[i] for i in places],
            [self.rounds[i] for i in places] if self.rounds else [],
            self.rates[list(places)],
            [self.trips[i] for i in places],
        )


@dataclass(frozen=True)
class Answers:
    """What one target said of some pictures, picture by picture."""

    target: str
    setting: str
    pictures: tuple[str, ...]  # their names
    labels: tuple[int, ...] | None  # what each shows; None if that is unknown
    right: Sequence[bool] | None  # whether its first class is the label
    agreeing: Sequence[bool] | None  # whether it decides what the reference does


@dataclass(frozen=True, kw_only=True)
class Comparable:
    """All of a result that another of its kind is compared with."""

    facts: Facts  # what has to be alike, besides the machine
    models: Sequence[ModelInfo]
    series: Mapping[Key, Series] = field(default_factory=dict)  # in the order measured
    once: Mapping[Row, float] = field(default_factory=dict)  # what one run told, without rounds
    # By what has to be the same for answers to be compared.
    answers: Mapping[Hashable, Answers] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)  # requests in no figure, by target
    warnings: Sequence[str] = ()
