"""The figures of the whole server for Prometheus, on a port of their own.

Counts nothing itself: every scrape reads what has been counted.
"""

import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from threading import Thread
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from crossrun_server import distribution
from crossrun_server.errors import ServingError
from crossrun_server.runtime.session_options import VERSION
from crossrun_server.telemetry import model_metrics, processes
from crossrun_server.telemetry.exposition import exposition
from crossrun_server.telemetry.failures import Failure
from crossrun_server.telemetry.metrics_http import (
    PATH,
    Entrance,
    MetricsServer,
    admitting,
    at_one_path,
)
from crossrun_server.telemetry.readings import Snapshot

LOOK = 0.5  # seconds between two looks whether the block has ended


class FrontEnd(NamedTuple):
    """Which front end serves, and what it is made of."""

    name: str
    version: str


@contextmanager
def exporting(
    host: str,
    port: int,
    read: Callable[[], Snapshot],
    front: FrontEnd,
    entrance: Entrance,
) -> Iterator[str]:
    """Answer scrapes on threads of their own until the block ends; yield the URL.

    Args:
        host: the address to listen on.
        port: 0 picks one.
        read: reads all figures; it is called on any thread.
        front: what answers the requests that are counted.
        entrance: who may scrape, and how.

    Raises:
        ServingError: the port cannot be bound.
    """
    try:
        app = at_one_path(admitting(entrance.admit, exposition(_registry(read, front))))
        server = MetricsServer(host.strip("[]"), port, app, entrance.secure)
    except OSError as error:
        raise ServingError(
            f"cannot listen on {host}:{port} for metrics: is the port in use? "
            "--metrics-port chooses another, --no-metrics none"
        ) from error
    thread = Thread(target=server.serve_forever, args=(LOOK,), name="metrics", daemon=True)
    thread.start()
    try:
        yield f"http{'s' if entrance.secure else ''}://{host}:{server.server_port}{PATH}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _registry(read: Callable[[], Snapshot], front: FrontEnd) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(_Figures(read))
    told = Info("crossrun_front", "Front end that answers requests", registry=registry)
    told.info(front._asdict())
    build = Info("crossrun_build", "Versions of what serves", registry=registry)
    build.info(
        {
            "version": version(distribution.NAME),
            "onnxruntime": VERSION,
            "python": platform.python_version(),
        }
    )
    return registry


class _Figures(Collector):
    def __init__(self, read: Callable[[], Snapshot]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        """Name the metrics without reading anything."""
        return _families(Snapshot())

    def collect(self) -> Iterable[Metric]:
        """Read all figures once."""
        return _families(self._read())


def _families(snapshot: Snapshot) -> Iterator[Metric]:
    yield from model_metrics.families(snapshot.models)
    yield _failures(snapshot)
    yield _load(snapshot)
    yield _connections(snapshot)
    yield CounterMetricFamily(
        "crossrun_dropped_spans",
        "Spans that no receiver of traces got",
        value=snapshot.dropped_spans,
    )
    yield from processes.families(snapshot.processes)


def _failures(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "crossrun_failed_calls", "Calls that were refused or failed", labels=Failure._fields
    )
    for failure, count in snapshot.failures.items():
        family.add_metric(failure, count)
    return family


def _load(snapshot: Snapshot) -> Metric:
    return GaugeMetricFamily(
        "crossrun_in_flight_bytes",
        "Bytes of requests and answers that are held for clients",
        value=snapshot.bytes_in_flight,
    )


def _connections(snapshot: Snapshot) -> Metric:
    family = GaugeMetricFamily("crossrun_connections", "Connections of clients", labels=())
    if snapshot.connections is not None:
        family.add_metric((), snapshot.connections)
    return family
