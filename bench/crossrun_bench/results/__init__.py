"""What is measured: raw values, with the machine they came from.

Nothing in it is a summary. Knows nothing of how values are measured, kept or shown.
"""

from __future__ import annotations

from crossrun_bench.results.accuracy import AccuracyResult
from crossrun_bench.results.detection import DetectionResult
from crossrun_bench.results.latency import LatencyResult
from crossrun_bench.results.load import LoadResult
from crossrun_bench.results.loadgen import LoadGenResult
from crossrun_bench.results.precision import PrecisionResult
from crossrun_bench.results.throughput import ThroughputResult

Result = (
    LatencyResult
    | AccuracyResult
    | DetectionResult
    | PrecisionResult
    | LoadResult
    | ThroughputResult
    | LoadGenResult
)
KINDS: dict[str, type[Result]] = {
    "latency": LatencyResult,
    "accuracy": AccuracyResult,
    "detection": DetectionResult,
    "precision": PrecisionResult,
    "load": LoadResult,
    "throughput": ThroughputResult,
    "loadgen": LoadGenResult,
}


def kind(result: Result) -> str:
    """What a result calls itself in its file."""
    return next(name for name, cls in KINDS.items() if isinstance(result, cls))
