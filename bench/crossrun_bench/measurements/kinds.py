"""What is measured: raw values, with the machine they came from.

Nothing in it is a summary. Knows nothing of how values are measured, kept or shown.
"""

from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.detection.result import DetectionResult
from crossrun_bench.measurements.latency.result import LatencyResult
from crossrun_bench.measurements.load.result import LoadResult
from crossrun_bench.measurements.loadgen.result import LoadGenResult
from crossrun_bench.measurements.precision.result import PrecisionResult
from crossrun_bench.measurements.throughput.result import ThroughputResult

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
