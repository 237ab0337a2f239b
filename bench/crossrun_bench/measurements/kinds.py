"""All kinds of results, by the names that they have in files. A new measurement is a line here."""

from typing import Any

from crossrun_bench.measurements.accuracy.kind import ACCURACY
from crossrun_bench.measurements.detection.kind import DETECTION
from crossrun_bench.measurements.interface import Kind
from crossrun_bench.measurements.latency.kind import LATENCY
from crossrun_bench.measurements.load.kind import LOAD
from crossrun_bench.measurements.loadgen.kind import LOADGEN
from crossrun_bench.measurements.precision.kind import PRECISION
from crossrun_bench.measurements.result import Result
from crossrun_bench.measurements.throughput.kind import THROUGHPUT

KINDS: dict[str, Kind[Any, Any]] = {
    "latency": LATENCY,
    "accuracy": ACCURACY,
    "detection": DETECTION,
    "precision": PRECISION,
    "load": LOAD,
    "throughput": THROUGHPUT,
    "loadgen": LOADGEN,
}


def name_of(result: Result) -> str:
    """What a result calls itself in its file."""
    return next(name for name, kind in KINDS.items() if kind.result is type(result))
