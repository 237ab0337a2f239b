"""Summaries of raw results, computed on reading. Knows nothing of how they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from crossrun_bench.stats import Ratio, paired_ratio, percentiles

if TYPE_CHECKING:
    from crossrun_bench.results import AccuracyResult, LatencyResult, TargetAnswers, TargetLatency

BASELINES = ("tf-function", "keras-predict")


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
    faster_than: dict[str, Ratio]  # baseline's time / own time, by baseline


@dataclass(frozen=True)
class AccuracyRow:
    """One target against the labels and against the reference. Shares are 0 to 1."""

    target: str
    top1: float | None  # None where labels are unknown
    top5: float | None
    agreement: float  # same first class as the reference
    agreeing: int  # pictures
    max_difference: float  # of any probability, absolute


def requests(target: TargetLatency, batch: int) -> list[int]:
    """Nanoseconds of each request at one batch size, without warm-ups."""
    return [ns for turn in target.turns if turn.batch == batch for ns in turn.ns[turn.warmup :]]


def batches(result: LatencyResult) -> list[int]:
    """The batch sizes measured, in the order measured."""
    return list(dict.fromkeys(turn.batch for turn in result.targets[0].turns))


def latency_rows(result: LatencyResult) -> list[LatencyRow]:
    """A row for each batch size and target."""
    by_name = {target.target: target for target in result.targets}
    baselines = [by_name[name] for name in BASELINES if name in by_name]
    return [
        _latency_row(target, batch, baselines)
        for batch in batches(result)
        for target in result.targets
    ]


def _latency_row(target: TargetLatency, batch: int, baselines: list[TargetLatency]) -> LatencyRow:
    ns = requests(target, batch)
    p50, p90, p99 = percentiles(ns, (50, 90, 99))
    ratios = {
        baseline.target: _ratio(baseline, target, batch)
        for baseline in baselines
        if baseline is not target
    }
    throughput = batch * len(ns) / (sum(ns) / 1e9)
    return LatencyRow(target.target, batch, len(ns), p50, p90, p99, throughput, ratios)


def _ratio(slow: TargetLatency, fast: TargetLatency, batch: int) -> Ratio:
    """Of the medians of each round that both took part in."""
    a, b = _medians(slow, batch), _medians(fast, batch)
    rounds = sorted(a.keys() & b.keys())
    return paired_ratio([a[r] for r in rounds], [b[r] for r in rounds])


def _medians(target: TargetLatency, batch: int) -> dict[int, float]:
    turns = [t for t in target.turns if t.batch == batch and t.warmup < len(t.ns)]
    return {turn.round: median(turn.ns[turn.warmup :]) for turn in turns}


def accuracy_rows(result: AccuracyResult) -> list[AccuracyRow]:
    """A row for each target, the reference first."""
    return [_accuracy_row(target, result) for target in result.targets]


def _accuracy_row(target: TargetAnswers, result: AccuracyResult) -> AccuracyRow:
    count = len(result.pictures)
    pairs = zip(target.answers, result.targets[0].answers, strict=True)
    agreeing = sum(own.top5[0] == other.top5[0] for own, other in pairs)
    return AccuracyRow(
        target=target.target,
        top1=_hits(target, result.labels, 1),
        top5=_hits(target, result.labels, 5),
        agreement=agreeing / count,
        agreeing=agreeing,
        max_difference=max(answer.difference for answer in target.answers),
    )


def _hits(target: TargetAnswers, labels: tuple[int, ...] | None, top: int) -> float | None:
    if labels is None:
        return None
    pairs = zip(target.answers, labels, strict=True)
    return sum(label in answer.top5[:top] for answer, label in pairs) / len(labels)
