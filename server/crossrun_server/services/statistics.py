"""ModelStatistics: what each version of a model has done since it was loaded."""

from collections.abc import Awaitable, Callable

from crossrun.oip import grpc_service_pb2 as pb
from crossrun.oip.grpc_service_pb2_grpc import GRPCInferenceServiceServicer
from crossrun_server.models.model import Model
from crossrun_server.models.repository import Repository
from crossrun_server.services.edge import Context
from crossrun_server.telemetry.durations import Duration
from crossrun_server.telemetry.statistics import Batches, Counters

ReadCounters = Callable[[list[Model]], Awaitable[list[Counters]]]


async def read_counters(models: list[Model]) -> list[Counters]:
    """Read the counters of this process."""
    return [model.statistics.read() for model in models]


class StatisticsService(GRPCInferenceServiceServicer):
    """Answers with the counters of every model of a repository."""

    def __init__(self, repository: Repository, read_counters: ReadCounters) -> None:
        """Store the models, and what reads the counters of some of them."""
        self._repository = repository
        self._read_counters = read_counters

    async def ModelStatistics(
        self,
        request: pb.ModelStatisticsRequest,
        context: Context,
    ) -> pb.ModelStatisticsResponse:
        """Return the counters of a version, of all versions of a model, or of all models."""
        models = self._repository.select(request.name, request.version)
        counted = await self._read_counters(models)
        return pb.ModelStatisticsResponse(model_stats=map(_statistics, models, counted))


def _statistics(model: Model, counters: Counters) -> pb.ModelStatistics:
    return pb.ModelStatistics(
        name=model.name,
        version=model.version,
        last_inference=counters.last_arrival_ns // 1_000_000,
        inference_count=counters.inferences,
        execution_count=counters.executions,
        inference_stats=_requests(counters),
        batch_stats=[_batches(rows, counters.batches[rows]) for rows in sorted(counters.batches)],
    )


def _requests(counters: Counters) -> pb.InferStatistics:
    return pb.InferStatistics(
        success=_duration(counters.success),
        fail=_duration(counters.fail),
        queue=_duration(counters.queue),
        compute_input=_duration(counters.input),
        compute_infer=_duration(counters.infer),
        compute_output=_duration(counters.output),
        cache_hit=_duration(counters.cache_hit),
        cache_miss=_duration(counters.cache_miss),
    )


def _batches(rows: int, batches: Batches) -> pb.InferBatchStatistics:
    return pb.InferBatchStatistics(
        batch_size=rows,
        compute_input=_duration(batches.input),
        compute_infer=_duration(batches.infer),
        compute_output=_duration(batches.output),
    )


def _duration(duration: Duration) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=duration.count, ns=duration.ns)
