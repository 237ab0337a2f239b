"""All tables of a report, in the order of its results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crossrun_bench.report import (
    accuracy,
    average_precision,
    differences,
    latency,
    load,
    loadgen,
    throughput,
)
from crossrun_bench.results.accuracy import AccuracyResult
from crossrun_bench.results.detection import DetectionResult
from crossrun_bench.results.latency import LatencyResult
from crossrun_bench.results.loadgen import LoadGenResult
from crossrun_bench.results.precision import PrecisionResult
from crossrun_bench.results.throughput import ThroughputResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crossrun_bench.report.table import Table
    from crossrun_bench.results import Result


def tables(results: Sequence[Result]) -> list[Table]:
    """All tables, in the order of the results."""
    found: list[Table] = []
    for result in results:
        if isinstance(result, LatencyResult):
            found += [latency.latency(result), latency.resources(result)]
        elif isinstance(result, AccuracyResult):
            found += [accuracy.accuracy(result), *differences.tables(result)]
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
