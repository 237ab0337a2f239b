"""Summaries of raw results, computed on reading. Knows nothing of how they are shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from crossrun_bench.measurements.accuracy.result import Comparison, TargetAnswers, agree
from crossrun_bench.measurements.latency.result import LatencyResult, TargetLatency, Turn
from crossrun_bench.measurements.precision.result import MeasuredModel, Precisions
from crossrun_bench.models.checked import Checked
from crossrun_bench.providers import Provider
from crossrun_bench.stats import Ratio, paired_ratio, percentiles

OUTLIER = 3.0  # times the median
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
    outliers: int  # requests over OUTLIER times the median; nothing leaves them out
    faster_than: dict[str, Ratio]  # baseline's time / own time, by baseline
    provider: Provider | None  # where providers are compared
    faster_than_first: Ratio | None  # on another provider than the target's first
    proof: Checked | None = None  # how far its answers are from the original's


@dataclass(frozen=True)
class AccuracyRow:
    """One target against the labels and against the reference. Shares are 0 to 1."""

    target: str
    top1: float | None  # None where labels are unknown
    top5: float | None
    agreement: float  # same first class as the reference, or same classes
    agreeing: int  # pictures
    pictures: int
    max_difference: float  # of any probability, absolute
    divergence: float | None  # mean over the pictures, nats; None in results of before it was kept


@dataclass(frozen=True)
class PrecisionRow:
    """One precision of a source model, one picture a request. Times are nanoseconds a request."""

    source: str
    precision: str
    file_bytes: int
    share: float | None  # of the fp32 file; None where there is none
    accuracy: AccuracyRow | None  # None without pictures
    p50: float
    faster_than_fp32: Ratio | None  # None where there is none


def requests(turns: Sequence[Turn], batch: int) -> list[int]:
    """Nanoseconds of each request at one batch size, without warm-ups."""
    return [ns for turn in turns if turn.batch == batch for ns in turn.ns[turn.warmup :]]


def batches(result: LatencyResult) -> list[int]:
    """The batch sizes measured, in the order measured."""
    return list(dict.fromkeys(turn.batch for turn in result.targets[0].turns))


def latency_rows(result: LatencyResult) -> list[LatencyRow]:
    """A row for each batch size and target."""
    first = first_of_each(result)
    baselines = [first[name] for name in BASELINES if name in first]
    return [
        _latency_row(target, batch, baselines, first[target.target])
        for batch in batches(result)
        for target in result.targets
    ]


def first_of_each(result: LatencyResult) -> dict[str, TargetLatency]:
    """Of each target its only row, or the one on the first provider: the others' baseline."""
    return {target.target: target for target in reversed(result.targets)}


def _latency_row(
    target: TargetLatency, batch: int, baselines: list[TargetLatency], first: TargetLatency
) -> LatencyRow:
    ns = requests(target.turns, batch)
    p50, p90, p99 = percentiles(ns, (50, 90, 99))
    ratios = {
        baseline.target: _ratio(baseline.turns, target.turns, batch)
        for baseline in baselines
        if baseline is not target
    }
    throughput = batch * len(ns) / (sum(ns) / 1e9)
    return LatencyRow(
        target=target.target,
        batch=batch,
        requests=len(ns),
        p50=p50,
        p90=p90,
        p99=p99,
        throughput=throughput,
        outliers=sum(took > OUTLIER * p50 for took in ns),
        faster_than=ratios,
        provider=target.provider,
        faster_than_first=None if target is first else _ratio(first.turns, target.turns, batch),
        proof=target.proof,
    )


def _ratio(slow: Sequence[Turn], fast: Sequence[Turn], batch: int) -> Ratio:
    """Of the medians of each round that both took part in."""
    a, b = _medians(slow, batch), _medians(fast, batch)
    rounds = sorted(a.keys() & b.keys())
    return paired_ratio([a[r] for r in rounds], [b[r] for r in rounds])


def _medians(turns: Sequence[Turn], batch: int) -> dict[int, float]:
    counted = [t for t in turns if t.batch == batch and t.warmup < len(t.ns)]
    return {turn.round: median(turn.ns[turn.warmup :]) for turn in counted}


def accuracy_rows(result: Comparison) -> list[AccuracyRow]:
    """A row for each target, the reference first."""
    return [_accuracy_row(target, result) for target in result.targets]


def _accuracy_row(target: TargetAnswers, result: Comparison) -> AccuracyRow:
    count = len(result.pictures)
    pairs = zip(target.answers, result.targets[0].answers, strict=True)
    agreeing = sum(agree(own, other) for own, other in pairs)
    return AccuracyRow(
        target=target.target,
        top1=_hits(target, result.labels, 1),
        top5=_hits(target, result.labels, 5),
        agreement=agreeing / count,
        agreeing=agreeing,
        pictures=count,
        max_difference=float(np.max([answer.difference for answer in target.answers])),
        divergence=_divergence(target),
    )


def _divergence(target: TargetAnswers) -> float | None:
    known = [a.divergence for a in target.answers if a.divergence is not None]
    return sum(known) / len(known) if known else None


def _hits(target: TargetAnswers, labels: tuple[int, ...] | None, top: int) -> float | None:
    if labels is None or len(target.answers[0].top5) < top:  # the best five of four are all
        return None
    pairs = zip(target.answers, labels, strict=True)
    return sum(label in answer.top5[:top] for answer, label in pairs) / len(labels)


def precision_rows(source: Precisions) -> list[PrecisionRow]:
    """A row for each precision of a source model."""
    fp32 = next((m for m in source.models if m.model.precision == "fp32"), None)
    said = {row.target: row for row in accuracy_rows(source.answers)} if source.answers else {}
    return [_precision_row(m, fp32, said.get(m.model.name)) for m in source.models]


def _precision_row(
    own: MeasuredModel, fp32: MeasuredModel | None, accuracy: AccuracyRow | None
) -> PrecisionRow:
    return PrecisionRow(
        source=own.model.source["model"],
        precision=own.model.precision,
        file_bytes=own.file_bytes,
        share=own.file_bytes / fp32.file_bytes if fp32 else None,
        accuracy=accuracy,
        p50=percentiles(requests(own.turns, 1), (50,))[0],
        faster_than_fp32=_against(fp32, own),
    )


def _against(fp32: MeasuredModel | None, own: MeasuredModel) -> Ratio | None:
    if own is fp32:
        return Ratio(1.0, None, None)  # by definition, without an interval
    return _ratio(fp32.turns, own.turns, 1) if fp32 else None
