"""The counters of all models for Prometheus, under Triton's names, on a port of their own.

Counts nothing itself: every scrape reads the statistics of the models that are loaded.
The names are exactly Triton's. They lack the suffix `_total` that this library adds to counters, so
their type is `unknown`.
Source: https://github.com/triton-inference-server/server (docs/user_guide/metrics.md).
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from threading import Thread
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Info, make_wsgi_app
from prometheus_client.core import (
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    UnknownMetricFamily,
)
from prometheus_client.registry import Collector

from crossrun_server.errors import ServingError
from crossrun_server.telemetry.metrics_http import (
    PATH,
    Admit,
    MetricsServer,
    admitting,
    at_one_path,
)
from crossrun_server.telemetry.readings import Reading
from crossrun_server.telemetry.statistics import BOUNDS, Counters


class FrontEnd(NamedTuple):
    """Which front end serves, and what it is made of."""

    name: str
    version: str


LABELS = ("model", "version", "provider")


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


@contextmanager
def exporting(
    host: str,
    port: int,
    readings: Callable[[], list[Reading]],
    front: FrontEnd,
    admit: Admit,
) -> Iterator[str]:
    """Answer scrapes on threads of their own until the block ends; yield the URL.

    Args:
        host: the address to listen on.
        port: 0 picks one.
        readings: reads all models; it is called on any thread.
        front: what answers the requests that are counted.
        admit: lets a scrape in, by its header `Authorization`.

    Raises:
        ServingError: the port cannot be bound.
    """
    registry = CollectorRegistry()
    registry.register(_Models(readings))
    told = Info("crossrun_front", "Front end that answers requests", registry=registry)
    told.info(front._asdict())
    try:
        app = at_one_path(admitting(admit, make_wsgi_app(registry)))
        server = MetricsServer(host.strip("[]"), port, app)
    except OSError as error:
        raise ServingError(
            f"cannot listen on {host}:{port} for metrics: is the port in use? "
            "--metrics-port chooses another, --no-metrics none"
        ) from error
    thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}{PATH}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Models(Collector):
    def __init__(self, readings: Callable[[], list[Reading]]) -> None:
        self._readings = readings

    def describe(self) -> Iterable[Metric]:
        """Name the metrics without reading anything."""
        return _families([])

    def collect(self) -> Iterable[Metric]:
        """Read all models once."""
        return _families(self._readings())


def _families(readings: list[Reading]) -> Iterator[Metric]:
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
    yield _latency(readings)


def _failures(readings: list[Reading]) -> Metric:
    family = UnknownMetricFamily(
        "nv_inference_request_failure", "Requests that failed", labels=(*LABELS, "reason")
    )
    for reading in readings:
        for reason, count in reading.counters.failures.items():
            family.add_metric((*reading.labels, reason), count)
    return family


def _pending(readings: list[Reading]) -> Metric:
    family = GaugeMetricFamily(
        "nv_inference_pending_request_count", "Requests that wait to be run", labels=LABELS
    )
    for reading in readings:
        family.add_metric(reading.labels, reading.pending)
    return family


def _nodes(readings: list[Reading]) -> Metric:
    """Return how many nodes each provider runs; here the label `provider` is the nodes' own."""
    family = GaugeMetricFamily(
        "crossrun_model_nodes", "Nodes of the model by execution provider", labels=LABELS
    )
    for reading in readings:
        for provider, nodes in reading.nodes.items():
            family.add_metric((*reading.labels[:2], provider), nodes)
    return family


def _proofs(readings: list[Reading]) -> Iterator[Metric]:
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


def _latency(readings: list[Reading]) -> Metric:
    family = HistogramMetricFamily(
        "crossrun_request_duration_seconds", "From arrival to answer", labels=LABELS
    )
    bounds = (*map(str, BOUNDS), "+Inf")
    for reading in readings:
        buckets = zip(bounds, accumulate(reading.counters.histogram), strict=True)
        family.add_metric(reading.labels, list(buckets), reading.counters.success.ns / 1e9)
    return family
