"""Percentiles, throughput and ratios of latency, computed on reading."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossrun_bench.measurements.latency.result import LatencyResult, TargetLatency
from crossrun_bench.measurements.turns import ratio, requests
from crossrun_bench.models.checked import Checked
from crossrun_bench.providers import Provider
from crossrun_bench.stats import Ratio, percentiles
from crossrun_bench.targets.targets import REFERENCES

OUTLIER = 3.0  # times the median
BASELINES = ("tf-function", "keras-predict")
# Of these the first that was measured, if none of the others was.
_ORIGINALS = tuple(REFERENCES.values())


@dataclass(frozen=True)
class LatencyRow:
    """One target at one batch size. Times are nanoseconds a request."""

    target: str
    batch: int
    requests: int
    p50: float
    p90: float
    p99: float
    throughput: float  # pictures per second
    outliers: int  # requests over OUTLIER times the median; nothing leaves them out
    faster_than: dict[str, Ratio]  # baseline's time / own time, by baseline
    provider: Provider | None  # where providers are compared
    faster_than_first: Ratio | None  # on another provider than the target's first
    proof: Checked | None = None  # how far its answers are from the original's


@dataclass(frozen=True)
class LatencySummary:
    """A result, and a row for each batch size and target."""

    result: LatencyResult
    batches: Sequence[int]  # in the order measured
    rows: Sequence[LatencyRow]


def summarise(result: LatencyResult) -> LatencySummary:
    """All that is shown of a result."""
    return LatencySummary(result, _batches(result), latency_rows(result))


def latency_rows(result: LatencyResult) -> list[LatencyRow]:
    """A row for each batch size and target."""
    first = first_of_each(result)
    baselines = [first[name] for name in baselines_of(result)]
    return [
        _row(target, batch, baselines, first[target.target])
        for batch in _batches(result)
        for target in result.targets
    ]


def baselines_of(result: LatencyResult) -> Sequence[str]:
    """The targets that others are compared with: TensorFlow of a Keras model, else the original."""
    measured = dict.fromkeys(target.target for target in result.targets)
    found = [name for name in BASELINES if name in measured]
    return found or [name for name in measured if name in _ORIGINALS][:1]


def first_of_each(result: LatencyResult) -> dict[str, TargetLatency]:
    """Of each target its only row, or the one on the first provider: the others' baseline."""
    return {target.target: target for target in reversed(result.targets)}


def _batches(result: LatencyResult) -> list[int]:
    return list(dict.fromkeys(turn.batch for turn in result.targets[0].turns))


def _row(
    target: TargetLatency, batch: int, baselines: Sequence[TargetLatency], first: TargetLatency
) -> LatencyRow:
    ns = requests(target.turns, batch)
    p50, p90, p99 = percentiles(ns, (50, 90, 99))
    ratios = {
        baseline.target: ratio(baseline.turns, target.turns, batch)
        for baseline in baselines
        if baseline is not target
    }
    return LatencyRow(
        target=target.target,
        batch=batch,
        requests=len(ns),
        p50=p50,
        p90=p90,
        p99=p99,
        throughput=batch * len(ns) / (sum(ns) / 1e9),
        outliers=sum(took > OUTLIER * p50 for took in ns),
        faster_than=ratios,
        provider=target.provider,
        faster_than_first=None if target is first else ratio(first.turns, target.turns, batch),
        proof=target.proof,
    )
