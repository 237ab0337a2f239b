"""The few figures that a reader should leave with."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.detection.result import DetectionResult
from crossrun_bench.measurements.kinds import Result
from crossrun_bench.measurements.latency.result import LatencyResult
from crossrun_bench.measurements.load.result import LoadResult
from crossrun_bench.measurements.precision.result import PrecisionResult
from crossrun_bench.measurements.summary import (
    accuracy_rows,
    first_of_each,
    latency_rows,
    precision_rows,
)
from crossrun_bench.measurements.throughput.result import ThroughputResult
from crossrun_bench.stats import Ratio
from crossrun_bench.targets.targets import ENCODED, label
from crossrun_bench.view import figures

_SUBJECT = "onnxruntime"


@dataclass(frozen=True)
class Headline:
    """A figure, what it counts, under which conditions, and all that as a sentence."""

    figure: str
    caption: str
    detail: str
    sentence: str


def headlines(results: Sequence[Result]) -> list[Headline]:
    """Speed against each baseline, agreement, start-up: what the results hold of them."""
    from crossrun_bench.measurements.detection import tables as average_precision  # noqa: PLC0415
    from crossrun_bench.measurements.load import tables as load  # noqa: PLC0415
    from crossrun_bench.measurements.throughput import tables as throughput  # noqa: PLC0415

    found: list[Headline] = []
    for result in results:
        if isinstance(result, LatencyResult):
            found += [*_speeds(result), *_provider(result), *_startup(result)]
        elif isinstance(result, AccuracyResult):
            found.append(_agreement(result))
        elif isinstance(result, DetectionResult):
            found.append(average_precision.headline(result))
        elif isinstance(result, PrecisionResult):
            found += _precision(result)
        elif isinstance(result, ThroughputResult):
            found += throughput.headlines(result)
        elif isinstance(result, LoadResult):
            found += load.headlines(result)
    return found


def _speeds(result: LatencyResult) -> Iterator[Headline]:
    rows = latency_rows(result)
    row = next((row for row in rows if row.target == _SUBJECT), None)
    for baseline, ratio in row.faster_than.items() if row else ():
        detail = f"{label(_SUBJECT)}, batch {rows[0].batch}"
        yield _speed(label(_SUBJECT), label(baseline), ratio, detail)


def _provider(result: LatencyResult) -> Iterator[Headline]:
    """In process the provider, or its options, that is fastest against the first."""
    rows = [row for row in latency_rows(result) if row.target == _SUBJECT and row.provider]
    ratios = [
        (row.faster_than_first, row)
        for row in rows
        if row.faster_than_first and row.batch == rows[0].batch
    ]
    if ratios and rows[0].provider:
        ratio, row = max(ratios, key=lambda pair: pair[0].value)
        subject = label(row.target, row.provider)
        yield _speed(subject, rows[0].provider.label, ratio, f"{subject}, batch {row.batch}")


def _precision(result: PrecisionResult) -> Iterator[Headline]:
    """Of the largest model the precision that is fastest against fp32."""
    largest = max(result.sources, key=lambda source: source.models[0].file_bytes)
    rows = [row for row in precision_rows(largest) if row.precision != "fp32"]
    ratios = [(row.faster_than_fp32, row) for row in rows if row.faster_than_fp32]
    if ratios:
        ratio, row = max(ratios, key=lambda pair: pair[0].value)
        subject = f"{row.source} in {row.precision}"
        yield _speed(subject, "fp32", ratio, f"{subject}, batch 1")


def _speed(subject: str, baseline: str, ratio: Ratio, detail: str) -> Headline:
    if ratio.low is not None and ratio.high is not None and ratio.low < 1 < ratio.high:
        return _unclear(subject, baseline, ratio, detail)
    word, shown = ("faster", ratio) if ratio.value >= 1 else ("slower", ratio.inverse())
    places = 1 if shown.value >= 1.1 else 2
    figure = f"{shown.value:.{places}f}×"  # noqa: RUF001 - the sign for times
    caption = f"{word} than {baseline}"
    bounds = figures.interval(shown)
    detail += f", 95 % interval {bounds}" if bounds else ""
    return Headline(figure, caption, detail, f"{subject} answers {figure} {caption}")


def _unclear(subject: str, baseline: str, ratio: Ratio, detail: str) -> Headline:
    """An interval on both sides of 1 shows no difference, whatever its middle."""
    caption = f"no clear difference from {baseline}"
    detail = f"{detail}, 95 % interval {figures.interval(ratio)}"
    sentence = f"{subject} shows {caption}"
    return Headline(figures.times(ratio), caption, detail, sentence)


def _startup(result: LatencyResult) -> Iterator[Headline]:
    starts = {name: target.startup_ns for name, target in first_of_each(result).items()}
    if _SUBJECT in starts and "tf-function" in starts:
        figure = figures.seconds(starts[_SUBJECT])
        detail = f"{label('tf-function')}: {figures.seconds(starts['tf-function'])}"
        caption = "from process start to first answer"
        sentence = f"{label(_SUBJECT)} takes {figure} {caption}"
        yield Headline(figure, caption, f"{label(_SUBJECT)}; {detail}", sentence)


def _agreement(result: AccuracyResult) -> Headline:
    """Of the target that takes the same pixels as the reference and agrees least."""
    rows = accuracy_rows(result)[1:]
    same_pixels = [row for row in rows if row.target != ENCODED] or rows
    least = min(same_pixels, key=lambda row: row.agreeing)
    figure, count = figures.percent(least.agreement), len(result.pictures)
    caption = "same first class as Keras"
    detail = f"{least.agreeing:,} of {count:,} pictures, {label(least.target)}"
    return Headline(figure, caption, detail, f"{label(least.target)}: {figure} {caption}")
