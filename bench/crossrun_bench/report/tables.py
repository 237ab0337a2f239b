"""All tables of a report, in the order of its results."""

from collections.abc import Sequence

from crossrun_bench.measurements.accuracy import differences_tables
from crossrun_bench.measurements.accuracy import tables as accuracy
from crossrun_bench.measurements.accuracy.result import AccuracyResult
from crossrun_bench.measurements.detection import tables as average_precision
from crossrun_bench.measurements.detection.result import DetectionResult
from crossrun_bench.measurements.kinds import Result
from crossrun_bench.measurements.latency import tables as latency
from crossrun_bench.measurements.latency.result import LatencyResult
from crossrun_bench.measurements.load import tables as load
from crossrun_bench.measurements.loadgen import tables as loadgen
from crossrun_bench.measurements.loadgen.result import LoadGenResult
from crossrun_bench.measurements.precision.result import PrecisionResult
from crossrun_bench.measurements.throughput import tables as throughput
from crossrun_bench.measurements.throughput.result import ThroughputResult
from crossrun_bench.view.table import Table


def tables(results: Sequence[Result]) -> list[Table]:
    """All tables, in the order of the results."""
    found: list[Table] = []
    for result in results:
        if isinstance(result, LatencyResult):
            found += [latency.latency(result), latency.resources(result)]
        elif isinstance(result, AccuracyResult):
            found += [accuracy.accuracy(result), *differences_tables.tables(result)]
        elif isinstance(result, DetectionResult):
            found += average_precision.tables(result)
        elif isinstance(result, PrecisionResult):
            found.append(accuracy.precision(result))
        elif isinstance(result, ThroughputResult):
            found.append(throughput.table(result))
        elif isinstance(result, LoadGenResult):
            found.append(loadgen.table(result))
        else:
            found += load.tables(result)
    return found
