"""How often something happened and how long it took, altogether and by buckets. Times are ns."""

import time
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import NamedTuple

# Upper bounds of the buckets, seconds.
BOUNDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
)  # fmt: skip
_BOUNDS_NS = tuple(round(bound * 1e9) for bound in BOUNDS)


class Example(NamedTuple):
    """The trace of one request that is in a bucket."""

    trace_id: str
    ns: int
    at: float  # seconds since 1970


@dataclass
class Duration:
    """How often something happened and how long it took altogether."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int) -> None:
        """Count once more."""
        self.count += 1
        self.ns += ns

    def include(self, other: "Duration") -> None:
        """Count what another has counted."""
        self.count += other.count
        self.ns += other.ns


@dataclass
class Histogram(Duration):
    """The same, and how many took how long."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))  # last: all others
    examples: dict[int, Example] = field(default_factory=dict)  # by bucket, the latest

    def add(self, ns: int, trace_id: str = "") -> None:
        """Count once more; `trace_id` if it was traced."""
        self.count += 1
        self.ns += ns
        bucket = bisect_left(_BOUNDS_NS, ns)
        self.buckets[bucket] += 1
        if trace_id:
            self.examples[bucket] = Example(trace_id, ns, time.time())

    def include(self, other: Duration) -> None:
        """Count what another histogram has counted."""
        super().include(other)
        assert isinstance(other, Histogram)
        self.buckets = [sum(pair) for pair in zip(self.buckets, other.buckets, strict=True)]
        for bucket, example in other.examples.items():
            if bucket not in self.examples or self.examples[bucket].at < example.at:
                self.examples[bucket] = example
