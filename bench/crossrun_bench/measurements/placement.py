"""Where a host had put our cores while turns were measured, told by `core_to_core`."""

from collections.abc import Iterator

from crossrun_bench.measurements.kinds import Result
from crossrun_bench.measurements.latency.result import LatencyResult, Turn
from crossrun_bench.measurements.load.result import LoadResult, LoadTurn
from crossrun_bench.measurements.precision.result import PrecisionResult
from crossrun_bench.stats import percentiles

NEAR = 1.5  # times: round trips of one placement differ by less, of two by more


def near(a: float, b: float) -> bool:
    """Whether two round trips are of one placement."""
    return max(a, b) <= NEAR * min(a, b)


def seen(result: Result) -> list[int]:
    """Round trips before each turn that has one, nanoseconds."""
    return [turn.core_to_core_ns for turn in _turns(result) if turn.core_to_core_ns is not None]


def moved(found: list[int]) -> bool:
    """Whether there were two placements; a tenth of the turns may be odd."""
    return bool(found) and not near(*percentiles(found, (10, 90)))


def _turns(result: Result) -> Iterator[Turn | LoadTurn]:
    if isinstance(result, LatencyResult | LoadResult):
        yield from (turn for target in result.targets for turn in target.turns)
    elif isinstance(result, PrecisionResult):
        models = (model for source in result.sources for model in source.models)
        yield from (turn for model in models for turn in model.turns)
