"""The metrics of models, made of their readings.

Triton's names are exactly Triton's. They lack the suffix `_total` that OpenMetrics demands of
counters, so their type is `unknown` there; `exposition` makes counters of them in the text format.
Source: https://github.com/triton-inference-server/server (docs/user_guide/metrics.md).
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import (
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UnknownMetricFamily,
)

from crossrun_server.telemetry.durations import BOUNDS, Histogram
from crossrun_server.telemetry.readings import Reading
from crossrun_server.telemetry.statistics import Counters

LABELS = ("model", "version", "provider")
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)  # bounds of the histogram of batches

# Name, help, value: what counts requests, and what sums their times in microseconds.
COUNTERS: tuple[tuple[str, str, Callable[[Counters], float]], ...] = (
    ("nv_inference_request_success", "Requests answered", lambda c: c.success.count),
    ("nv_inference_count", "Inferences: rows of requests, without cache hits",
     lambda c: c.inferences),
    ("nv_inference_exec_count", "Runs of the model, a batch being one", lambda c: c.executions),
    ("nv_inference_request_duration_us", "From arrival to answer", lambda c: c.success.ns / 1e3),
    ("nv_inference_queue_duration_us", "Waiting in the queue", lambda c: c.queue.ns / 1e3),
    ("nv_inference_compute_input_duration_us", "Preparing the inputs, without cache hits",
     lambda c: c.input.ns / 1e3),
    ("nv_inference_compute_infer_duration_us", "Running the model, without cache hits",
     lambda c: c.infer.ns / 1e3),
    ("nv_inference_compute_output_duration_us", "Taking the outputs out, without cache hits",
     lambda c: c.output.ns / 1e3),
)  # fmt: skip
CACHE_COUNTERS: tuple[tuple[str, str, Callable[[Counters], float]], ...] = (
    ("nv_cache_num_hits_per_model", "Requests answered from the response cache",
     lambda c: c.cache_hit.count),
    ("nv_cache_num_misses_per_model", "Requests that the response cache did not hold",
     lambda c: c.cache_miss.count),
    ("nv_cache_hit_duration_per_model", "Looking up what was held, us",
     lambda c: c.cache_hit.ns / 1e3),
    ("nv_cache_miss_duration_per_model", "Looking up and keeping what was not held, us",
     lambda c: c.cache_miss.ns / 1e3),
)  # fmt: skip
HISTOGRAMS: tuple[tuple[str, str, Callable[[Counters], Histogram]], ...] = (
    ("crossrun_request_duration_seconds", "From arrival to answer", lambda c: c.success),
    ("crossrun_decode_duration_seconds", "Decoding the pictures of a call", lambda c: c.decode),
    ("crossrun_queue_duration_seconds", "Waiting in the queue", lambda c: c.queue),
    ("crossrun_compute_input_duration_seconds", "Preparing the inputs of a request's batch",
     lambda c: c.input),
    ("crossrun_compute_infer_duration_seconds", "Running the model on a request's batch",
     lambda c: c.infer),
    ("crossrun_compute_output_duration_seconds", "Taking the outputs of a request's batch apart",
     lambda c: c.output),
)  # fmt: skip


def families(readings: Sequence[Reading]) -> Iterator[Metric]:
    """Make the metrics of some models; without models they have no samples."""
    cached = [reading for reading in readings if reading.cached]
    for chosen, counters in ((readings, COUNTERS), (cached, CACHE_COUNTERS)):
        for name, documentation, value in counters:
            family = UnknownMetricFamily(name, documentation, labels=LABELS)
            for reading in chosen:
                family.add_metric(reading.labels, value(reading.counters))
            yield family
    yield _failures(readings)
    yield _pending(readings)
    yield _nodes(readings)
    yield from _proofs(readings)
    for name, documentation, histogram in HISTOGRAMS:
        yield _durations(readings, name, documentation, histogram)
    yield _batches(readings)


def _failures(readings: Sequence[Reading]) -> Metric:
    family = UnknownMetricFamily(
        "nv_inference_request_failure", "Requests that failed", labels=(*LABELS, "reason")
    )
    for reading in readings:
        for reason, count in reading.counters.failures.items():
            family.add_metric((*reading.labels, reason), count)
    return family


def _pending(readings: Sequence[Reading]) -> Metric:
    family = GaugeMetricFamily(
        "nv_inference_pending_request_count", "Requests that wait to be run", labels=LABELS
    )
    for reading in readings:
        family.add_metric(reading.labels, reading.pending)
    return family


def _nodes(readings: Sequence[Reading]) -> Metric:
    """Return how many nodes each provider runs; here the label `provider` is the nodes' own."""
    family = GaugeMetricFamily(
        "crossrun_model_nodes", "Nodes of the model by execution provider", labels=LABELS
    )
    for reading in readings:
        for provider, nodes in reading.nodes.items():
            family.add_metric((*reading.labels[:2], provider), nodes)
    return family


def _proofs(readings: Sequence[Reading]) -> Iterator[Metric]:
    """Return what the check before serving found, for models that were compared with something.

    The label `precision` is the one that the provider was told to compute fp32 in.
    """
    labels = (*LABELS, "precision")
    difference = GaugeMetricFamily(
        "crossrun_model_proof_max_difference",
        "Largest difference from the original's answers in proof.npz; of a model without one from "
        "the CPU provider's to random inputs",
        labels=labels,
    )
    agreement = GaugeMetricFamily(
        "crossrun_model_proof_agreement", "Share of answers that are the original's", labels=labels
    )
    for reading in readings:
        for family, value in ((difference, reading.difference), (agreement, reading.agreement)):
            if value is not None:
                family.add_metric((*reading.labels, reading.asked_precision), value)
    yield from (difference, agreement)


def _durations(
    readings: Sequence[Reading],
    name: str,
    documentation: str,
    histogram: Callable[[Counters], Histogram],
) -> Metric:
    family = HistogramMetricFamily(name, documentation, labels=LABELS)
    for reading in readings:
        found = histogram(reading.counters)
        family.add_metric(reading.labels, _buckets(found), found.ns / 1e9)
    return family


def _buckets(found: Histogram) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Return upper bounds and counts up to them, with the trace of one request where there is."""
    buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    bounds = (*map(str, BOUNDS), "+Inf")
    for i, (bound, count) in enumerate(zip(bounds, accumulate(found.buckets), strict=True)):
        if example := found.examples.get(i):
            trace = {"trace_id": example.trace_id}
            buckets.append((bound, count, Exemplar(trace, example.ns / 1e9, example.at)))
        else:
            buckets.append((bound, count))
    return buckets


def _batches(readings: Sequence[Reading]) -> Metric:
    family = HistogramMetricFamily(
        "crossrun_batch_rows", "Rows of each run of the model", labels=LABELS
    )
    bounds = (*map(str, ROWS), "+Inf")
    for reading in readings:
        runs = {rows: batch.infer.count for rows, batch in reading.counters.batches.items()}
        counts = [0] * len(bounds)
        for rows, count in runs.items():
            counts[bisect_left(ROWS, rows)] += count
        buckets = list(zip(bounds, accumulate(counts), strict=True))
        family.add_metric(reading.labels, buckets, sum(rows * n for rows, n in runs.items()))
    return family
